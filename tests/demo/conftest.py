"""Running `rowcall demo` as a user does, in a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import bin_directory, memory

Result = subprocess.CompletedProcess[str]
RunDemo = Callable[..., Result]

COMMAND = [sys.executable, "-c", "from rowcall.cli import main; main()", "demo"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's account can enter too, which pytest's own would not be for root."""
    directory = Path(tempfile.mkdtemp(prefix="rowcall-", dir=memory() or "/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def environment(place: Path) -> dict[str, str]:
    """For the demo: the PostgreSQL under test, and a place for everything temporary."""
    temporary = place / "tmp"
    temporary.mkdir()
    return os.environ | {"ROWCALL_PG_BIN": str(bin_directory()), "TMPDIR": str(temporary), "COLUMNS": "80"}


@pytest.fixture
def run_demo(environment: dict[str, str]) -> RunDemo:
    def run(*arguments: str, command: list[str] = COMMAND) -> Result:
        return subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=80
        )

    return run


@pytest.fixture
def chinook() -> Path:
    """The Chinook data, which is not part of the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "chinook"
    directory = Path(os.environ.get("ROWCALL_CHINOOK", beside))
    if not (directory / "track.csv").is_file():
        pytest.skip("the Chinook data is not here: ROWCALL_CHINOOK=<directory> says where it is")
    return directory
