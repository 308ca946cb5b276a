"""The programs that are run beside a measurement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rowcall import embedded


def rowcall_command(*arguments: str) -> list[str]:
    """The command line of this very installation, whatever is on the PATH."""
    return [sys.executable, "-c", "from rowcall.cli import main; raise SystemExit(main())", *arguments]


def pgbench_command(server: embedded.Server, script: Path, clients: int, *options: Any) -> list[str]:
    """What has clients run a script.

    :param options: how long, and what else there is to say.
    """
    words = [server.bin_directory / "pgbench", "--no-vacuum", "--file", script, "--client", clients, *options]
    return [*map(str, words), server.dsn("postgres")]
