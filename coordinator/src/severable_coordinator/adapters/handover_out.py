"""Exporting shards for another coordinator; handover.py has the layout and the import. Needs no torch."""

import shutil
from pathlib import Path

from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.ports import ContractRecord, ShardRecord
from severable_coordinator.sub_shards import index_of
from severable_coordinator.uploads import CHUNK_BYTES, shard_file
from severable_trust.contract import Action
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified

ROSTER = "roster.dsse.json"
CLAIM = "claim.dsse.json"
CONTRACT = "contract.dsse.json"
RECIPE = "recipe.json"


def export_shards(coordinator: Coordinator, out: Path) -> list[str]:
    """Write every live shard that may be distributed to a new directory; returns their folders there. ConflictError."""
    if out.exists() and any(out.iterdir()):
        raise ConflictError(f"{out}: not empty; choose a new directory")
    permitted = {record.id: record for record, _ in coordinator.contracting.in_force(Action.DISTRIBUTE)}
    chosen = [shard for shard in coordinator.shards.shards() if shard.contract in permitted]
    if not chosen:
        raise NotFoundError("no live shard may be distributed; see `shards list` and `contract list`")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ROSTER).write_bytes(coordinator.logbook.roster().envelope.to_bytes())
        for shard in chosen:
            _export(coordinator, shard, permitted[shard.contract], out / folder_of(shard))
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return [folder_of(shard) for shard in chosen]


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
