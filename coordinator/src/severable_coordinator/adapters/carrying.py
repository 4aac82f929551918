"""Carrying one removal out, whoever asks: the operator's `remove` and the worker of `up` come through here alike."""

from collections.abc import Callable

from severable_coordinator.adapters.engine import submit
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import EngineError
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.removal_steps import TOLD, facts_of
from severable_coordinator.requests import is_about_records
from severable_coordinator.withdrawal import Progress
from severable_trust import canonical
from severable_trust.digest import Digest
from severable_trust.instant import format_instant

Say = Callable[[str], None]


def carry_out(
    coordinator: Coordinator, request: Digest, progress: Progress, say: Say, *, prove: bool = False
) -> RemovalRecord:
    """Do what is left to do of a removal, once another one of its party has ended; returns it as it then stands.

    An order that was overtaken lapses; a removal that has ended stays as it is.

    Raises:
        CoordinatorError, TrustError, OSError: a step failed; what was done is kept, and the next try goes on.
    """
    party = coordinator.removals.removal(request).party
    with coordinator.withdrawal.turns.carrying_out(party):
        record = coordinator.removals.removal(request)
        coordinator.orders.enact(record)
        record = coordinator.orders.deny_unknown(record)  # a crash came before it was judged
        if not record.ended and not coordinator.orders.lapse(record):
            coordinator.removal.run_in_turn(record, progress, prove=prove)
        done = coordinator.removals.removal(request)
        coordinator.removals.clear_trouble(request)
        if TOLD not in coordinator.removals.steps(request):
            tell(coordinator, done, say)
    return done


def tell(coordinator: Coordinator, record: RemovalRecord, say: Say) -> None:
    """Write both sides' notices of how a removal ended down, and send what it ordered; done twice, it tells once.

    `up` does it too, where a crash came between a receipt and this.
    """
    coordinator.notices.of_removal(record)
    facts = canonical.encode({"done": format_instant(coordinator.clock())})
    coordinator.removals.finish_step(record.request, TOLD, facts)
    _send_orders(coordinator, record, say)


def _send_orders(coordinator: Coordinator, record: RemovalRecord, say: Say) -> None:
    """Send the new training that a removal ordered on its way; without `up`, `train` does it later."""
    if record.state != "fulfilled" or not is_about_records(record):
        return
    ordered = facts_of(coordinator.removals, record, "order")
    if not ordered["tasks"]:
        say(f"{record.party}: nothing to train anew, its contract does not permit training now")
        return
    try:
        for batch in ordered["batches"]:
            submit(coordinator.engine, coordinator.layout.bundle, {"batch": batch})
    except EngineError as error:
        say(f"{record.party}: {len(ordered['tasks'])} shards to train anew wait for `train`: {error}")
    else:
        say(f"{record.party}: {len(ordered['tasks'])} shards are trained anew")
