"""`remove`: carry out the removals that are due, or list them."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import ProgressLines, listing
from severable_coordinator.adapters.cli.prove import print_proof
from severable_coordinator.adapters.engine import submit
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConflictError, EngineError, NotFoundError
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.requests import is_about_records
from severable_trust.removal import ErasureRequest
from severable_trust.statement import read_unverified


def remove(
    party: Annotated[
        str, typer.Argument(help="The party whose removal to carry out; all that are due if left out.")
    ] = "",
    show: Annotated[bool, typer.Option("--list", help="Only list removals and their states.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the receipt to this file (one removal).")] = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Also build the set without the shards from scratch, and compare all files.")
    ] = False,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """Carry out requested removals: withdraw, erase, rebuild, receipt. Run it again after a crash: it goes on.

    Where a party erased single records, its contract stays, and exactly the shards that held them are trained anew.

    Example: severable-coordinator remove hospital-a --out receipt.json
    """
    coordinator = open_home(home)
    if show:
        listing([_row(coordinator, record) for record in coordinator.removals.removals()], how, "no removal yet")
        return
    due = _due(coordinator, party)
    if out is not None and len(due) != 1:
        raise ConflictError(f"--out takes one receipt, {len(due)} removals are due; name the party")
    for record in due:
        done = coordinator.removal.run(record, ProgressLines(), prove=prove)
        if out is not None:
            out.write_bytes(done.bundle)
        _print(coordinator, done, how)
        _send_orders(coordinator, done)
        if prove:
            print_proof(coordinator.removal.facts(done, "prove"), Format.TEXT, to=sys.stderr)


def _due(coordinator: Coordinator, party: str) -> list[RemovalRecord]:
    wanted = [r for r in coordinator.removals.removals() if (not party or r.party == party) and r.state != "fulfilled"]
    if not wanted:
        raise NotFoundError(
            f"no removal of {party or 'anybody'} is open; the party asks for it with `contract terminate` or `erase`"
        )
    now = coordinator.clock()
    due = [record for record in wanted if coordinator.requests.due(record) <= now]
    if not due:
        when = min(coordinator.requests.due(record) for record in wanted)
        raise ConflictError(f"notice runs until {when:%Y-%m-%d %H:%M} UTC; the removal is due then")
    return due


def _send_orders(coordinator: Coordinator, record: RemovalRecord) -> None:
    """Send the new training that a removal ordered on its way; without `up`, `train` does it later."""
    if not is_about_records(record):
        return
    ordered = coordinator.removal.facts(record, "order")
    if not ordered["tasks"]:
        print(f"{record.party}: nothing to train anew, its contract does not permit training now", file=sys.stderr)
        return
    try:
        for batch in ordered["batches"]:
            submit(coordinator.engine, coordinator.layout.bundle, {"batch": batch})
    except EngineError as error:
        print(
            f"{record.party}: {len(ordered['tasks'])} shards to train anew wait for `train`: {error}", file=sys.stderr
        )
    else:
        print(f"{record.party}: {len(ordered['tasks'])} shards are trained anew", file=sys.stderr)


def _row(coordinator: Coordinator, record: RemovalRecord) -> dict[str, object]:
    request = read_unverified(record.envelope, ErasureRequest)
    return {
        "party": record.party,
        "state": record.state,
        "requested": f"{request.submitted:%Y-%m-%d %H:%M}",
        "reason": request.reason,
        "due": f"{coordinator.requests.due(record):%Y-%m-%d %H:%M}",
        "request": str(record.request),
    }


def _print(coordinator: Coordinator, record: RemovalRecord, how: Format) -> None:
    erased = coordinator.removal.facts(record, "erase")
    rebuilt = coordinator.removal.facts(record, "rebuild")["composites"]
    recalled = len(coordinator.removal.facts(record, "recall")["recalls"])
    if how is Format.JSON:
        composites = [{"group": change[0], "before": change[1], "after": change[3]} for change in rebuilt]
        steps = coordinator.removals.steps(record.request)
        ordered = len(coordinator.removal.facts(record, "order")["tasks"]) if "order" in steps else 0
        told = {"party": record.party, "files_erased": len(erased["files"]), "composites": composites}
        print(json.dumps(told | {"trained_anew": ordered, "recalls": recalled}))
        return
    key = "data key destroyed" if erased["key"] else "data key stays for the party's other shards"
    print(f"removal of {record.party} is fulfilled: {len(erased['files'])} files erased, {key}")
    for group, before, _, after, *_ in rebuilt:
        print(f"composite of {group}: {before[:19]} -> {after[:19] or 'retired'}")
    if recalled:
        print(f"copies recalled: {recalled}; `recall list` shows them, `recall export` writes each for its recipient")
