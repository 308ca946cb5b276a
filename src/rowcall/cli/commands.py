"""Commands whose modules are imported when they are asked for: all of them take twice as long to import as one does."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

#: How help texts are marked up.
MARKUP: Final = "markdown"


def importing(modules: Mapping[str, str]) -> type[TyperGroup]:
    """The class of a group that has more commands: the name of each, and of the module of this package that registers it."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = Commands({**self.commands, **modules})

    return Group


class Commands(UserDict[str, Any]):
    """Commands by name, or the modules that have them, as long as nobody has asked."""

    def __getitem__(self, name: str) -> Any:
        if isinstance(module := self.data[name], str):
            self.data.update(_registered(module))
        return self.data[name]


def _registered(module: str) -> Mapping[str, Any]:
    """What a module registers."""
    app = typer.Typer(rich_markup_mode=MARKUP)
    import_module(f"rowcall.cli.{module}").register(app)
    return get_group(app).commands
