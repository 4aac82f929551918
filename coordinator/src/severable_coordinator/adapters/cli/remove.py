"""`remove`: carry out the removals that are due, or list them."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from severable_coordinator.adapters.carrying import carry_out
from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import ProgressLines, listing
from severable_coordinator.adapters.cli.prove import print_proof
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.removal_steps import facts_of
from severable_trust.order import read_trigger


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
    """Carry out removals that are due: withdraw, erase, rebuild, receipt. Run it again after a crash: it goes on.

    `up` does it by itself when they are due; `remove order` orders one, `remove deny` refuses one.

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
        say = partial(print, file=sys.stderr)
        done = carry_out(coordinator, record.request, ProgressLines(), say, prove=prove)
        if done.state != "fulfilled":
            say(f"removal of {done.party} is {done.state}: request {done.request}")
            continue
        if out is not None:
            out.write_bytes(done.bundle)
        _print(coordinator, done, how)
        if prove:
            print_proof(_proof(coordinator, done), Format.TEXT, to=sys.stderr)


def _due(coordinator: Coordinator, party: str) -> list[RemovalRecord]:
    held = [record for record in coordinator.removals.removals() if not party or record.party == party]
    wanted = [record for record in held if not record.ended]
    if party and not wanted and held and held[-1].state == "fulfilled":  # `up` was faster: say what it did
        return [held[-1]]
    if not wanted:
        raise NotFoundError(
            f"no removal of {party or 'anybody'} is open; the party asks for it with `contract terminate` or `erase`, "
            "you order one with `remove order`"
        )
    now = coordinator.clock()
    due = [record for record in wanted if coordinator.requests.due(record) <= now]
    if not due:
        when = min(coordinator.requests.due(record) for record in wanted)
        raise ConflictError(f"notice runs until {when:%Y-%m-%d %H:%M} UTC; the removal is due then")
    return due


def _proof(coordinator: Coordinator, record: RemovalRecord) -> dict[str, Any]:
    if "prove" in coordinator.removals.steps(record.request):
        return facts_of(coordinator.removals, record, "prove")
    return coordinator.removal.prove_later(record, ProgressLines())  # `up` was faster, and was not asked to


def _row(coordinator: Coordinator, record: RemovalRecord) -> dict[str, object]:
    request = read_trigger(record.envelope)
    return {
        "party": record.party,
        "state": record.state,
        "requested": f"{request.submitted:%Y-%m-%d %H:%M}",
        "reason": request.reason,
        "due": f"{coordinator.requests.due(record):%Y-%m-%d %H:%M}",
        "request": str(record.request),
    }


def _print(coordinator: Coordinator, record: RemovalRecord, how: Format) -> None:
    facts = partial(facts_of, coordinator.removals, record)  # without torch: `up` may have done it all
    erased, rebuilt, recalled = facts("erase"), facts("rebuild")["composites"], len(facts("recall")["recalls"])
    if how is Format.JSON:
        composites = [{"group": change[0], "before": change[1], "after": change[3]} for change in rebuilt]
        steps = coordinator.removals.steps(record.request)
        ordered = len(facts("order")["tasks"]) if "order" in steps else 0
        told = {"party": record.party, "files_erased": len(erased["files"]), "composites": composites}
        print(json.dumps(told | {"trained_anew": ordered, "recalls": recalled}))
        return
    key = "data key destroyed" if erased["key"] else "data key stays for the party's other shards"
    print(f"removal of {record.party} is fulfilled: {len(erased['files'])} files erased, {key}")
    for group, before, _, after, *_ in rebuilt:
        print(f"composite of {group}: {before[:19]} -> {after[:19] or 'retired'}")
    if recalled:
        print(f"copies recalled: {recalled}; `recall list` shows them, `recall export` writes each for its recipient")
