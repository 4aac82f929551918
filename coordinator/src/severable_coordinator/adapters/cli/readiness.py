"""`readiness`: what a removal of each party would cost and change; with --prepare, its routers are built beforehand."""

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import ProgressLines, listing
from severable_coordinator.adapters.idle import preparing_lock
from severable_coordinator.bootstrap import Coordinator, open_home

if TYPE_CHECKING:
    from severable_coordinator.outlook import Change, Outlook

EXAMPLE = "Example: severable-coordinator readiness --prepare"
_NICE = 19  # the lowest weight that the system knows


def readiness(
    prepare: Annotated[
        bool, typer.Option("--prepare", help="First build, at low priority, what is not there yet; Ctrl-C loses one.")
    ] = False,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """Say for each party what its removal would cost and change: seconds, quality, composites, recipients.

    Seconds are those of the rebuild, near zero where it is prepared; else they are told from past builds and called an
    estimate. Quality is the change of the distance to the others' banks, where it was measured (by --prepare).
    """
    coordinator = open_home(home)
    if prepare:
        _prepare(coordinator)
    from severable_coordinator.outlook import outlooks  # noqa: PLC0415  # imports torch

    found = outlooks(coordinator.readiness, lambda _composite: ())
    if how is Format.JSON:
        print(json.dumps([_plain(one) for one in found], indent=2))
        return
    listing([_row(one, change) for one in found for change in one.changes], how, "no composite yet; assemble one first")


def _prepare(coordinator: Coordinator) -> None:
    """Do all that there is to do, one thing after another, until a signal says stop."""
    with preparing_lock(coordinator.layout):
        _prepare_all(coordinator)


def _prepare_all(coordinator: Coordinator) -> None:
    os.nice(_NICE)
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda _number, _frame: stop.set())
    lines, prepared = ProgressLines(), coordinator.readiness
    try:
        total = len(prepared.missing())
        for place in range(total):

            def told(_what: str, done: int, of: int, place: int = place) -> None:
                share = round(100 * done / of) if of else 100
                lines("preparing", 100 * place + share, 100 * total)

            job = prepared.prepare_next(stop.is_set, told)
            if job is None:
                break
            lines.close()
            print(f"{job.what}: there ({place + 1} of {total})", file=sys.stderr, flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if left := len(prepared.missing()):
        print(f"{left} things are left to prepare; run it again to go on", file=sys.stderr)


def _plain(one: "Outlook") -> dict[str, object]:
    changes = [
        {
            "group": change.group,
            "before": None if change.before is None else str(change.before),
            "after": None if change.after is None else str(change.after),
            "retired": change.retired,
            "prepared": change.prepared,
            "quality": change.quality,
            "recipients": list(change.recipients),
        }
        for change in one.changes
    ]
    return {"party": one.party, "seconds": one.seconds, "basis": one.basis, "changes": changes}


def _row(one: "Outlook", change: "Change") -> dict[str, object]:
    seconds = "unknown" if one.seconds is None else f"{one.seconds:.2g}"
    after = "retired" if change.retired else (str(change.after)[:19] if change.after else "not built yet")
    return {
        "party": one.party,
        "group": change.group,
        "seconds": f"{seconds} ({one.basis})" if one.seconds is not None else seconds,
        "prepared": "yes" if change.prepared or change.retired else "no",
        "quality for the others": _quality(change),
        "composite now": str(change.before)[:19] if change.before else "",
        "composite after": after,
        "recipients": ", ".join(change.recipients),
    }


def _quality(change: "Change") -> str:
    """The change with its 95 % interval, in percent; a distance that grows is worse."""
    told = change.quality
    if told is None:
        return "" if change.retired else "not measured yet"
    if "not_measured" in told:
        return "not measurable"
    return f"{told['change']:+.1%} ({told['low']:+.1%} to {told['high']:+.1%})"
