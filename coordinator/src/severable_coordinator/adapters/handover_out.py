"""Exporting shards for another coordinator; handover.py has the layout and the import. Needs no torch."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.new_directory import new_directory
from severable_coordinator.ports import ContractRecord, ShardRecord
from severable_coordinator.recalls import Export
from severable_coordinator.sub_shards import index_of
from severable_coordinator.uploads import CHUNK_BYTES, shard_file
from severable_trust import canonical
from severable_trust.contract import Action
from severable_trust.digest import Digest
from severable_trust.recall import Artifact
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified
from severable_trust.terms import check_id

ROSTER = "roster.dsse.json"
CLAIM = "claim.dsse.json"
CONTRACT = "contract.dsse.json"
RECIPE = "recipe.json"
SOMEBODY = "another-coordinator"  # the recipient, where none is named


def export_shards(coordinator: Coordinator, out: Path, recipient: str = SOMEBODY) -> list[str]:
    """Write every live shard that may be distributed to a new directory; returns their folders there.

    Args:
        coordinator: whose shards.
        out: a new or empty directory; all of it is there once the export is recorded, and else nothing.
        recipient: whom it is for; a removal of one of the shards recalls it there.

    Raises:
        ConflictError: the directory is not empty, or a contract changed meanwhile.
        NotFoundError: no shard may be distributed.
        StatementError: the recipient's name is not an id.
        WithdrawnError: a shard was withdrawn meanwhile.
    """
    if out.exists() and any(out.iterdir()):
        raise ConflictError(f"{out}: not empty; choose a new directory")
    permitted = {record.id: record for record, _ in coordinator.contracting.in_force(Action.DISTRIBUTE)}
    chosen = [shard for shard in coordinator.shards.shards() if shard.contract in permitted]
    if not chosen:
        raise NotFoundError("no live shard may be distributed; see `shards list` and `contract list`")
    check_id(recipient, "recipient")
    guard, ids = coordinator.withdrawal, tuple(shard.id for shard in chosen)
    with guard.using(ids), new_directory(out) as part:
        (part / ROSTER).write_bytes(coordinator.logbook.roster().envelope.to_bytes())
        for shard in chosen:
            _export(coordinator, shard, permitted[shard.contract], part / folder_of(shard))
        with guard.handing_out(ids):
            _require_still(coordinator, chosen)
            coordinator.recalls.add_export(_record(coordinator, ids, recipient))
            part.replace(out)
    return [folder_of(shard) for shard in chosen]


def _require_still(coordinator: Coordinator, shards: Sequence[ShardRecord]) -> None:
    """Refuse what a contract does not permit any more. ConflictError."""
    permitted = {record.id for record, _ in coordinator.contracting.in_force(Action.DISTRIBUTE)}
    for shard in shards:
        if shard.contract not in permitted:
            raise ConflictError(f"contract of shard {shard.id} does not permit distribution any more; run it again")


def _record(coordinator: Coordinator, shards: tuple[Digest, ...], recipient: str) -> Export:
    return Export(
        recipient=recipient,
        artifact=Artifact.SHARDS,
        digest=Digest.of(canonical.encode([str(shard) for shard in sorted(shards)])),
        group="",
        shards=shards,
        at=coordinator.clock(),
    )


def folder_of(shard: ShardRecord) -> str:
    """A shard's folder in a handover; no party's id has an @."""
    index = index_of(shard)
    return shard.party if index is None else f"{shard.party}@{index}"


def _export(coordinator: Coordinator, shard: ShardRecord, contract: ContractRecord, out: Path) -> None:
    out.mkdir()
    for file in read_unverified(shard.claim, ShardClaim).files:
        with (
            coordinator.vault.open(shard.party, shard_file(shard.id, file.name)) as source,
            (out / file.name).open("wb") as to,
        ):
            shutil.copyfileobj(source, to, CHUNK_BYTES)
    (out / CLAIM).write_bytes(shard.claim)
    (out / CONTRACT).write_bytes(contract.envelope)
    (out / RECIPE).write_bytes(coordinator.contracts.recipe(shard.recipe).body)
