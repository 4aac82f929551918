"""Exports, removals and the answers of recipients, for tests of recalls."""

from pathlib import Path

from coordinator.federation import GROUP, World, quiet

from severable_coordinator.recalls import RecallRecord
from severable_trust.bundle import verify_receipt
from severable_trust.digest import Digest
from severable_trust.recall import Answer, RecallAnswer
from severable_trust.receipt import Receipt


def remove(world: World, name: str) -> Receipt:
    """A whole removal; returns what its receipt says."""
    contract = world.coordinator.contracts.contracts(name)[0].id
    record = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))
    done = world.coordinator.removal.run(record, quiet)
    return verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value


def exported(world: World, out: Path, *recipients: str) -> Digest:
    """The composite of now, handed to each of these recipients; returns its digest."""
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    for recipient in recipients:
        world.coordinator.exporting.export(record, out / f"{recipient}-{record.id.hex[:8]}", recipient)
    return record.id


def recalled(world: World, out: Path, *recipients: str) -> Receipt:
    """Everybody ships, these recipients get the composite, the agency leaves; returns what its receipt says."""
    world.ship_all()
    exported(world, out, *recipients)
    return remove(world, "agency")


def answer(world: World, record: RecallRecord, **changes: object) -> RecallAnswer:
    usual: dict[str, object] = {
        "recall": record.id,
        "recipient": record.said.recipient,
        "answer": Answer.ERASED,
        "answered": world.clock(),
        "note": "",
    }
    return RecallAnswer(**(usual | changes))  # type: ignore[arg-type]  # the usual ones have the fields' types
