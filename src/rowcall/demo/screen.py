"""What a person sees of a demo."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from rowcall import errors

#: Where what is said begins, beside the name of who says it.
_MARGIN = 11

_STYLES = {"handler": "magenta", "listener": "magenta", "LISTEN": "blue", "refused": "red", "$": "dim"}


@dataclass(frozen=True, slots=True)
class Claim:
    """Figures that have to agree, each with what it is of."""

    parts: Sequence[tuple[int | Decimal, str]]

    @property
    def holds(self) -> bool:
        return len({figure for figure, _ in self.parts}) == 1

    def __str__(self) -> str:
        said = [f"{figure:,} {what}" for figure, what in self.parts]
        signs = ["=" if one == other else "≠" for (one, _), (other, _) in pairwise(self.parts)]
        return said[0] + "".join(f" {sign} {part}" for sign, part in zip(signs, said[1:], strict=True))


class Screen:
    """Prints chapters, and in them who said what."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show "✓" is no reason to fail
        self.console = Console(highlight=False)
        self._chapters = 0
        self._started = time.monotonic()

    def headline(self, title: str, keep: Path | None) -> None:
        """Begin."""
        self.console.print(Text(title, "bold"))
        where = "in a temporary directory, and nothing stays behind" if keep is None else f"in {keep}"
        self.console.print(Text(f"It runs for real, {where}.", "dim"))

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self.console.print()
        self.console.print(Rule(Text(f"{self._chapters} {title}", "bold"), align="left", style="dim"))

    def say(self, who: str, text: str, style: str = "") -> None:
        """Print what somebody did or said; long texts wrap beside the name."""
        lines = Text(text, style).wrap(self.console, max(20, self.console.width - _MARGIN))
        for place, line in enumerate(lines):
            name = who if place == 0 else ""
            line.rstrip()
            self.console.print(Text.assemble((f"{name:>{_MARGIN - 2}}", _STYLES.get(who, "cyan")), "  ", line))

    def prove(self, claims: Sequence[Claim]) -> None:
        """Print whether each claim holds.

        :raises Undeliverable: if one does not.
        """
        for claim in claims:
            sign, style = ("✓", "bold green") if claim.holds else ("✗", "bold red")
            self.console.print(Text(f"{sign} {claim}", style))
        wrong = [str(claim) for claim in claims if not claim.holds]
        if wrong:
            raise errors.Undeliverable(f"The figures disagree: {'; '.join(wrong)}. That is a fault worth reporting.")

    def end(self) -> None:
        """Say how long it took."""
        self.console.print(Text(f"{time.monotonic() - self._started:.1f} s", "dim"))
