"""What the torture test says at the end of a session: its faults and events, and how to run it again."""

from collections.abc import Callable

import pytest

from tests.torture.crew import python_path

_SAID = pytest.StashKey[list[str]]()

Say = Callable[[object], None]


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """Have something shown in the session's summary."""
    return lambda what: request.config.stash.setdefault(_SAID, []).append(str(what))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners import this package too."""
    monkeypatch.setenv("PYTHONPATH", python_path())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for said in terminalreporter.config.stash.get(_SAID, []):
        terminalreporter.section("torture")
        terminalreporter.write_line(said)
