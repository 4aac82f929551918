"""Shards handed from one coordinator to another, with all that proves them.

    DIR/roster.dsse.json              the exporting coordinator's roster
    DIR/<party>/{model.safetensors,config.json,manifest.json,claim.dsse.json}    a shard directory
    DIR/<party>/contract.dsse.json    the contract it rests on, signed by both sides
    DIR/<party>/recipe.json           the recipe it followed

The importer verifies everything against the exporter's trust root, by the verifier that admits an upload.
"""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from severable_coordinator.adapters.handover_out import CLAIM, CONTRACT, RECIPE, ROSTER
from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.admission import CHUNK_BYTES, MAX_SHARD_BYTES, shard_file
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.building import parse_recipe
from severable_coordinator.errors import ConfigError, NotFoundError
from severable_coordinator.membership import PartyRecord
from severable_coordinator.ports import ContractRecord, RecipeRecord, ShardRecord, ShardState
from severable_trust.agreement import open_agreement
from severable_trust.contract import Contract, ContractState
from severable_trust.envelope import Envelope
from severable_trust.roster import Roster
from severable_trust.shard import ShardClaim
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
    parties = sorted(path for path in directory.iterdir() if path.is_dir())
    if not parties:
        raise NotFoundError(f"{directory}: no shard there; make it with `shards export`")
    return [_import(coordinator, path, roster) for path in parties]


def _import(coordinator: Coordinator, directory: Path, roster: Proven[Roster]) -> ShardRecord:
    claim_bytes = _read(directory / CLAIM)
    party = roster.value.party(directory.name)
    claim = open_statement(claim_bytes, ShardClaim, party.keys)
    recipe = record_of(parse_recipe(_read(directory / RECIPE)))
    contract_bytes = _read(directory / CONTRACT)
    contract = open_agreement(contract_bytes, party.keys, [roster.value.coordinator_key])
    names = [file.name for file in claim.value.files]
    with ExitStack() as stack:
        files = {name: stack.enter_context(_open(directory / name)) for name in names}
        admit(claim_bytes, files, _policy(coordinator, claim.value, contract, recipe, roster))
        for name, stream in files.items():
            stream.seek(0)
            chunks = iter(partial(stream.read, CHUNK_BYTES), b"")
            coordinator.vault.write(party.id, shard_file(claim.id, name), chunks)
    coordinator.contracts.add_recipe(recipe)
    record = ContractRecord(id=contract.id, party=party.id, envelope=contract_bytes, state=ContractState.ACTIVE)
    coordinator.contracts.put(record)
    _keep_party(coordinator, directory.name, roster)
    return _keep(coordinator, claim, claim_bytes)


def _policy(
    coordinator: Coordinator,
    claim: ShardClaim,
    contract: Proven[Contract],
    recipe: RecipeRecord,
    roster: Proven[Roster],
) -> AdmissionPolicy:
    """As for an upload, but for the nonce: the task was the exporter's, and its roster vouches for it."""
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


def _open(path: Path) -> BinaryIO:
    if path.is_symlink():
        raise ConfigError(f"{path}: is a link; a handover holds plain files alone")
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); export the shards again") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
