"""Options that several commands share, and how what they print is written."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path("~/.severable-client")


class Format(StrEnum):
    """How a listing is written."""

    TEXT = "text"
    JSON = "json"


HomeOption = Annotated[
    Path, typer.Option("--home", envvar="SEVERABLE_HOME", help="The owner's home folder.", show_default=True)
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to write it.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def write_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def write_table(rows: Sequence[dict[str, str]], empty: str) -> None:
    """Print rows as an aligned table, or what is said when there are none."""
    if not rows:
        typer.echo(empty)
        return
    heads = list(rows[0])
    widths = [max(len(head), *(len(row[head]) for row in rows)) for head in heads]
    for cells in ([head.replace("_", " ") for head in heads], *([row[head] for head in heads] for row in rows)):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def short(digest: str) -> str:
    """Return a digest's first 12 hex digits, enough to name a contract or a job on the command line."""
    return digest.removeprefix("sha256:")[:12]
