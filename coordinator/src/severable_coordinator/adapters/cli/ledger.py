"""`ledger`: whose shards made what was drawn, summed by party."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.bootstrap import open_home
from severable_coordinator.ledger import accounts

EXAMPLE = "Example: severable-coordinator ledger --group licensees --since 2026-01-01 --format json"


def ledger(
    group: Annotated[str | None, typer.Option(help="Only what was drawn for this access group.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only what was drawn from this day on (UTC).")
    ] = None,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """List, by party, the images drawn from its shards' composites and its credit in them, summed over all draws."""
    store = open_home(home).ledger
    everything = group is None and since is None
    totals = store.totals()
    sums = store.sums(group, None if since is None else since.replace(tzinfo=UTC))
    if totals and not everything:
        print(
            f"left out, as they have no group and no day: totals of erased shards, of contracts: {len(totals)}",
            file=sys.stderr,
        )
    rows: list[dict[str, object]] = [
        {
            "party": one.party,
            "images": one.images,
            "credit": round(one.credit, 6) if how is Format.JSON else f"{one.credit:.1f}",
            "share": round(one.share, 6) if how is Format.JSON else f"{one.share:.1%}",
        }
        for one in accounts([*sums, *totals] if everything else sums)
    ]
    listing(rows, how, "nothing was drawn yet; `sample` and `evaluate` draw")
