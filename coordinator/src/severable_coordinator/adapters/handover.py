"""Shards handed from one coordinator to another, with all that proves them.

    DIR/roster.dsse.json              the exporting coordinator's roster
    DIR/<party>/{model.safetensors,config.json,manifest.json,claim.dsse.json}    a shard directory
    DIR/<party>/contract.dsse.json    the contract it rests on, signed by both sides
    DIR/<party>/recipe.json           the recipe it followed

of a sub-shard DIR/<party>@<index>/ in the same way.

The importer verifies everything against the exporter's trust root, by the verifier that admits an upload.
"""

import stat
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from severable_coordinator.adapters.handover_out import CLAIM, CONTRACT, RECIPE, ROSTER
from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from severable_coordinator.membership import PartyRecord
from severable_coordinator.ports import ContractRecord, RecipeRecord, ShardRecord, ShardState
from severable_coordinator.reading import Reading
from severable_coordinator.shard_sets import parse_recipe
from severable_coordinator.uploads import CHUNK_BYTES, MAX_SHARD_BYTES, shard_file
from severable_diffusion.errors import RecipeError
from severable_trust.agreement import open_agreement
from severable_trust.canonical import MAX_BYTES
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.roster import PartyStatus, Roster, RosterParty
from severable_trust.shard import WEIGHTS, ShardClaim
from severable_trust.statement import Kind, Proven, open_statement, statement_id
from severable_trust.tensors import TensorSpec
from severable_trust.trust_root import TrustRoot, open_roster
from severable_trust.verifier import AdmissionPolicy, admit


def import_shards(coordinator: Coordinator, directory: Path, trust_root: Path) -> list[ShardRecord]:
    """Verify and keep every shard of a handover. TrustError, ConfigError: then nothing of that shard is kept."""
    root = TrustRoot.parse(_read(trust_root))
    roster = open_roster(_read(directory / ROSTER), root)
    roster.value.require_current(coordinator.clock())
    coordinator.parties.add_peer(root.coordinator_id, root.coordinator_key)
    parties = sorted(path for path in directory.iterdir() if path.is_dir() or path.is_symlink())
    if not parties:
        raise NotFoundError(f"{directory}: no shard there; make it with `shards export`")
    return [_import(coordinator, path, roster) for path in parties]


def _import(coordinator: Coordinator, directory: Path, roster: Proven[Roster]) -> ShardRecord:
    _require_plain(directory, stat.S_ISDIR)
    claim_bytes = _read(directory / CLAIM)
    party = roster.value.party(directory.name.partition("@")[0])
    claim = open_statement(claim_bytes, ShardClaim, party.keys)
    recipe = _recipe(directory / RECIPE)
    contract_bytes = _read(directory / CONTRACT)
    contract = open_agreement(contract_bytes, party.keys, [roster.value.coordinator_key])
    _refuse_what_ended_here(coordinator, party, claim, contract.id)
    names = [file.name for file in claim.value.files]
    with ExitStack() as stack:
        files = {name: stack.enter_context(_open(directory / name)) for name in names}
        size = sum(file.size for file in claim.value.files if file.name == WEIGHTS)
        reading = Reading(size, coordinator.tombstones.sketching(size))
        for block in iter(partial(files[WEIGHTS].read, CHUNK_BYTES), b""):
            reading.feed(block)
        weights, sketch = reading.found()
        small = {name: stream for name, stream in files.items() if name != WEIGHTS}
        admit(claim_bytes, small, _policy(coordinator, claim.value, contract, recipe, roster), weights)
        coordinator.tombstones.refuse_weights(sketch)
        for name, stream in files.items():
            stream.seek(0)
            chunks = iter(partial(stream.read, CHUNK_BYTES), b"")
            coordinator.vault.write(party.id, shard_file(claim.id, name), chunks)
    coordinator.contracts.add_recipe(recipe)
    record = ContractRecord(id=contract.id, party=party.id, envelope=contract_bytes, state=ContractState.ACTIVE)
    coordinator.contracts.put(record)
    _keep_party(coordinator, party.id, roster)
    coordinator.tombstones.keep(claim.id, sketch)
    return _keep(coordinator, claim, claim_bytes)


def _policy(
    coordinator: Coordinator,
    claim: ShardClaim,
    contract: Proven[Contract],
    recipe: RecipeRecord,
    roster: Proven[Roster],
) -> AdmissionPolicy:
    """As for an upload, but for nonce and sub-shard: the task was the exporter's, and its roster vouches for it."""
    return AdmissionPolicy(
        party=claim.party,
        nonce=claim.nonce,
        roster=roster.value,
        contract=contract,
        state=ContractState.ACTIVE,
        recipe=recipe.digest,
        config=recipe.config,
        tensors={name: TensorSpec(dtype, shape) for name, (dtype, shape) in recipe.tensors.items()},
        now=coordinator.clock(),
        max_bytes=MAX_SHARD_BYTES,
        sub_shard=None if claim.sub_shard is None else claim.sub_shard.index,
    )


def _keep_party(coordinator: Coordinator, party_id: str, roster: Proven[Roster]) -> None:
    party = roster.value.party(party_id)
    if any(known.id == party_id for known in coordinator.parties.parties()):
        return
    coordinator.parties.add_party(
        PartyRecord(
            id=party.id,
            legal_name=party.legal_name,
            statement_key=party.statement_key,
            node_key=party.node_key,
            status="active",
            former_keys=party.former_keys,
            witness=party.witness,
        )
    )
    coordinator.logbook.issue_roster()


def _keep(coordinator: Coordinator, claim: Proven[ShardClaim], claim_bytes: bytes) -> ShardRecord:
    envelope = Envelope.parse(claim_bytes)
    record = ShardRecord(
        id=statement_id(envelope),
        party=claim.value.party,
        contract=claim.value.contract,
        recipe=claim.value.recipe,
        claim=claim_bytes,
        admitted=coordinator.clock(),
        state=ShardState.LIVE,
    )
    coordinator.shards.add(record)
    coordinator.logbook.record(Kind.SHARD, envelope)
    return record


def _refuse_what_ended_here(
    coordinator: Coordinator, party: RosterParty, claim: Proven[ShardClaim], contract: Digest
) -> None:
    """What was removed, ended or revoked here does not come back because somebody else still has a copy."""
    known = next((known for known in coordinator.parties.parties() if known.id == party.id), None)
    if known is not None and known.status == PartyStatus.REVOKED:
        raise RefusedError(f"party {party.id} is revoked here; an import does not bring it back")
    if known is not None and not {key.key_id for key in known.keys} & {key.key_id for key in party.keys}:
        raise RefusedError(f"party {party.id} is known here under another key; it is not the one in the handover")
    coordinator.tombstones.refuse_id(claim.id)
    for record in coordinator.contracts.contracts(party.id):
        if record.id == contract and record.state is not ContractState.ACTIVE:
            raise RefusedError(f"contract {contract} is {record.state} here; an import does not bring it back")


def _recipe(path: Path) -> RecipeRecord:
    try:
        return record_of(parse_recipe(_read(path)))
    except (RecipeError, ConflictError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _open(path: Path) -> BinaryIO:
    _require_plain(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); export the shards again") from error


def _read(path: Path) -> bytes:
    with _open(path) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_BYTES} bytes, which no statement is")
    return data


def _require_plain(path: Path, kind: Callable[[int], bool] = stat.S_ISREG) -> None:
    """Refuse a link, pipe or device, which could be endless or lie elsewhere, before it is opened."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); export the shards again") from error
    if not kind(mode):
        raise ConfigError(f"{path}: is a link or a special file; a handover holds plain files and folders alone")
