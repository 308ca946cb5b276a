"""rowcall audit seals, verify, prove, check-proof and keygen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rowcall import errors
from rowcall.audit import findings, seal, signing, verify
from rowcall.audit import proof as proofs
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import Format, FormatOption, chosen, show
from rowcall.postgres.checks.finding import counted

SEAL_COLUMNS = ("number", "sealed_at", "events", "first_seq", "last_seq", "root", "head", "key")
FINDING_COLUMNS = tuple(field.name for field in fields(findings.Finding))

PublicKeyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key", metavar="FILE", help="The .pub file of the key that seals are signed with; repeatable."
    ),
]
AnchorOption = Annotated[
    Path | None, typer.Option("--anchor", metavar="FILE", help="The file that rowcall listen --anchor wrote.")
]
ArchiveOption = Annotated[
    Path | None,
    typer.Option("--archive", metavar="DIR", help="Also verify what rowcall prune --archive wrote there."),
]
FromOption = Annotated[int | None, typer.Option("--from", metavar="SEAL", min=1, help="From this seal on.")]
ToOption = Annotated[int | None, typer.Option("--to", metavar="SEAL", min=1, help="Up to this seal.")]


def register(commands: typer.Typer) -> None:
    """Add the commands."""
    commands.command("seals")(list_seals)
    commands.command("verify")(verify_log)
    commands.command()(prove)
    commands.command("check-proof")(check_proof)
    commands.command()(keygen)


def list_seals(
    dsn: DsnOption = None, first: FromOption = None, last: ToOption = None, format: FormatOption = None
) -> None:
    """The seals over the log, oldest first.

    Example: rowcall audit seals --from 100
    """
    with connect(dsn) as connection, connection.transaction():
        show((_row(one) for one in seal.seals(connection, first or 1, last)), SEAL_COLUMNS, format)


def _row(one: seal.Seal) -> dict[str, Any]:
    return {
        "number": one.number,
        "sealed_at": one.at,
        "events": one.events,
        "first_seq": one.first_seq,
        "last_seq": one.last_seq,
        "root": one.root.hex(),
        "head": one.head.hex(),
        "key": one.key_id,
    }


def verify_log(
    dsn: DsnOption = None,
    public_key: PublicKeyOption = None,
    anchor: AnchorOption = None,
    archive: ArchiveOption = None,
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = None,
) -> None:
    """Compare the log with its seals; exit 1 if an event was altered, taken out, put in or moved since it was sealed.

    Example: rowcall audit verify --public-key seal.key.pub --anchor /mnt/worm/anchor.jsonl
    """
    if first is not None and last is not None and first > last:
        raise errors.UsageError(f"--from {first} comes after --to {last}: exchange them.")
    keys = [signing.Verifier.load(file) for file in public_key or ()]
    with connect(dsn) as connection, _bar() as progress:
        report = verify.verify(
            connection,
            first=first or 1,
            last=last,
            public_keys=keys,
            anchor=anchor,
            archive=archive,
            progress=progress,
        )
    if chosen(format) is Format.TABLE:
        _print(report)
    else:
        show((asdict(finding) for finding in report.findings), FINDING_COLUMNS, format)
    if report.findings:
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[verify.Progress]:
    """Shows on a terminal how far it is."""
    console = Console(stderr=True)
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal or console.is_dumb_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(report: findings.Report) -> None:
    console = Console()
    for finding in report.findings:
        console.print(Text(finding.kind, "bold red"), Text(finding.finding), soft_wrap=True)
    for sentence in report.unproven:
        console.print(Text("not proven", "yellow"), Text(sentence), soft_wrap=True)
    console.print(Text(_summary(report)), soft_wrap=True)


def _summary(report: findings.Report) -> str:
    seen = f"{counted(report.events, 'event')} in {counted(report.seals, 'seal')}"
    rest = [f"{report.erased:,} partly erased"] if report.erased else []
    if report.forgone:
        rest.append(f"{report.forgone:,} not proven any more")
    if report.pruned:
        archived = f", {report.archived:,} of them archived as they were" if report.archived else ""
        rest.append(f"{report.pruned:,} dropped by retention{archived}")
    seen += f" ({', '.join(rest)}, on record)" if rest else ""
    if report.findings:
        more = "at least " if len(report.findings) == findings.MOST else ""
        return f"{seen}: {more}{counted(len(report.findings), 'finding')}."
    return f"{seen}: as they were sealed."


def prove(
    seq: Annotated[int, typer.Argument(metavar="SEQ", help="The event's place in the log.")],
    dsn: DsnOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; the terminal unless given."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="SEAL",
            min=1,
            help="Lead to this seal; the event's own, or the next signed one, unless given.",
        ),
    ] = None,
) -> None:
    """Write a proof that an event is in the log, which a stranger can check without the database.

    Example: rowcall audit prove 42 -o proof.json
    """
    with connect(dsn) as connection:
        text = proofs.write(proofs.prove(connection, seq, last=last))
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise errors.UsageError(f"{output} cannot be written ({error.strerror}): name another file.") from error


def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What rowcall audit prove wrote.")],
    root: Annotated[
        str | None,
        typer.Option(
            "--root", metavar="HEX", help="A head, or the root of the event's seal, that you know to be right."
        ),
    ] = None,
    public_key: PublicKeyOption = None,
    anchor: AnchorOption = None,
) -> None:
    """Check a proof by what you trust, without a database; exit 1 if it does not show what it says.

    Example: rowcall audit check-proof proof.json --public-key seal.key.pub
    """
    keys = [signing.Verifier.load(one) for one in public_key or ()]
    print(proofs.check(proofs.read(file), root=root, public_keys=keys, anchor=anchor))


def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to put the private key; beside it comes FILE.pub.")
    ],
) -> None:
    """Make a key to sign seals with: the listener has the private half, whoever verifies the public one.

    Example: rowcall audit keygen seal.key
    """
    key_id = signing.generate(file)
    print(
        f"key {key_id}: {file} is for rowcall listen --seal-key, {signing.public_file(file)} for rowcall audit verify."
    )
