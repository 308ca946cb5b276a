"""Commands are imported when they are asked for, and all that there are can be asked for."""

import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from rowcall import cli
from rowcall.cli.main import app

PROGRAM = """
import sys
from rowcall.cli.main import run
run(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("rowcall.")), file=sys.stderr)
"""


def named(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below a group, by the words one types."""
    for name, command in group.commands.items():
        yield f"{path}{name}", command
        if isinstance(command, TyperGroup):
            yield from named(command, f"{path}{name} ")


def test_each_is_what_it_is_called() -> None:
    assert [path for path, command in named(typer.main.get_command(app)) if path.split()[-1] != command.name] == []


def test_every_module_s_commands_can_be_asked_for() -> None:
    reached = {command.callback.__wrapped__ for _, command in named(typer.main.get_command(app)) if command.callback}
    registered = []
    for module in pkgutil.iter_modules(cli.__path__, "rowcall.cli."):
        register = getattr(import_module(module.name), "register", None)
        if register:
            alone = typer.Typer()
            register(alone)
            registered += [command for _, command in named(typer.main.get_group(alone)) if command.callback]
    assert registered
    assert [command.name for command in registered if command.callback.__wrapped__ not in reached] == []


@pytest.mark.parametrize("words", [("--version",), ("audit", "check-proof", "nowhere")])
def test_no_other_is_imported(words: tuple[str, ...]) -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True).stderr
    assert "rowcall.cli.main" in said
    assert "rowcall.listener" not in said
    assert "rowcall.cli.doctor" not in said
