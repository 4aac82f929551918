"""`log`: what is in the log."""

from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.bootstrap import open_home


def log(
    checkpoint: Annotated[bool, typer.Option("--checkpoint", help="Print the newest signed checkpoint only.")] = False,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """List the log's entries: kind and digest of every statement, and whether its body is still held.

    Example: severable-coordinator log --format json
    """
    kept = open_home(home).log
    if checkpoint:
        print(kept.checkpoint()[1], end="")
        return
    rows: list[dict[str, object]] = [
        {
            "index": index,
            "kind": entry.kind.value,
            "body": "held" if held else "erased",
            "statement": str(entry.statement),
        }
        for index, entry, held in kept.entries()
    ]
    listing(rows, how, "the log is empty")
