"""Admission of a shard: bytes in, a proven `Shard` out, or the step that refused it.

Pure: everything that is compared with is in the `AdmissionPolicy`, the time included. Whether the nonce was used
before, and whether the shard was removed before, is for the caller's store to say; everything else is here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from severable_trust.contract import Action, Contract, ContractState, require
from severable_trust.digest import Digest, FileDigest, measure
from severable_trust.envelope import Envelope
from severable_trust.errors import AdmissionError, StatementError, TrustError
from severable_trust.roster import Roster, RosterParty
from severable_trust.shard import CONFIG, SHARD_FILES, WEIGHTS, ShardClaim, SubShard
from severable_trust.statement import Proven, open_statement
from severable_trust.tensors import TensorSpec, require_tensors
from severable_trust.weights import WeightsFile, scan_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """What a shard is compared with.

    Attributes:
        party: the party the task was given to.
        nonce: the task's nonce, 64 hexadecimal digits.
        roster: the roster in force.
        contract: the party's proven contract.
        state: where the contract stands.
        recipe: digest of the task's recipe.
        config: the bytes `config.json` must have, which follow from the recipe.
        tensors: the tensors `model.safetensors` must hold, which follow from the recipe.
        now: the time of the admission (UTC), one for all steps.
        max_bytes: the most that the three files may take together.
        sub_shard: which sub-shard the task asked for, from 0; None where it asked for the one shard of a party.
    """

    party: str
    nonce: str
    roster: Roster
    contract: Proven[Contract]
    state: ContractState
    recipe: Digest
    config: bytes
    tensors: Mapping[str, TensorSpec]
    now: datetime
    max_bytes: int
    sub_shard: int | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that passed every step. Its id is the claim's statement id."""

    claim: Proven[ShardClaim]

    @property
    def id(self) -> Digest:
        """The shard's id."""
        return self.claim.id


def admit(
    envelope: bytes, files: Mapping[str, BinaryIO], policy: AdmissionPolicy, weights: WeightsFile | None = None
) -> Shard:
    """The shard that this claim and these files are, once every step holds.

    Args:
        envelope: the party's signed claim.
        files: the received files by name, each at its beginning, the small ones seekable; the weights are read once.
            Sizes are taken from the streams, never from the party.
        policy: what they are compared with.
        weights: what one pass over the weights found while they came in; they are not in `files` then.

    Raises:
        AdmissionError: the shard is refused; names the step.
    """
    # (1) The claim is an envelope of the one accepted form.
    with _step("1 well formed"):
        parsed = Envelope.parse(envelope)
    # (2) The key that the roster holds for this party, today, signed it; and it is a shard claim.
    with _step("2 signature"):
        policy.roster.require_current(policy.now)
        party = policy.roster.party(policy.party)
        claim = open_statement(parsed, ShardClaim, [party.statement_key])
    # (3) It answers this task: this party, contract, recipe, nonce and sub-shard.
    with _step("3 task"):
        _check_task(claim.value, policy, party)
    # (4) The contract allows training and composing with this recipe now.
    with _step("4 contract"):
        for action in (Action.TRAIN, Action.COMPOSE):
            require(policy.contract.value, policy.state, action, policy.now, recipe=policy.recipe)
    # (5) The files are exactly the three that a shard has.
    with _step("5 file list"):
        _check_names([*files, WEIGHTS] if weights else [*files])
    # (6) Their sizes and digests are the signed ones.
    with _step("6 sizes and digests"):
        weights = _check_files(claim.value, files, policy.max_bytes, weights)
    # (7) The configuration is the recipe's, byte for byte: nothing of the party's is ever interpreted.
    with _step("7 configuration"):
        _check_config(files[CONFIG], policy.config)
    # (8) The tensors are exactly the recipe's in name, dtype and shape.
    with _step("8 tensors"):
        require_tensors(weights.tensors, policy.tensors)
    # (9) Every number in them is finite.
    with _step("9 finite"):
        weights.require_finite()
    # (10) The privacy limits of the contract are kept.
    with _step("10 limits"):
        _check_limits(claim.value, policy.contract.value)
    return Shard(claim)


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except TrustError as error:
        raise AdmissionError(name, str(error)) from error


def _check_task(claim: ShardClaim, policy: AdmissionPolicy, party: RosterParty) -> None:
    contract = policy.contract.value
    _same("party", claim.party, policy.party)
    _same("nonce", claim.nonce, policy.nonce)
    _same("recipe", claim.recipe, policy.recipe)
    _same("contract", claim.contract, policy.contract.id)
    _same("contract's assigner", contract.assigner.id, policy.party)
    if contract.assigner.key_id not in {key.key_id for key in party.keys}:  # it may be older than the last rotation
        raise StatementError(f"contract's key {contract.assigner.key_id[:16]} is not, and never was, {party.id}'s")
    _same("contract's assignee", contract.assignee.id, policy.roster.coordinator_id)
    _same("sub-shard", claim.sub_shard, _expected_part(policy.sub_shard, contract))


def _expected_part(index: int | None, contract: Contract) -> SubShard | None:
    """The task's sub-shard, counted as the contract counts them. StatementError when only one of the two has any."""
    count = contract.limits.sub_shards
    if (index is None) != (count is None):
        raise StatementError(f"task's sub-shard is {index}, the contract divides the records over {count or 1}")
    return None if index is None or count is None else SubShard(index=index, count=count)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise StatementError(f"{what} is {found}, expected {expected}")


def _check_names(names: list[str]) -> None:
    if tuple(sorted(names)) != SHARD_FILES:
        raise StatementError(f"files are {', '.join(sorted(names))[:200]}, not exactly {', '.join(SHARD_FILES)}")


def _check_files(
    claim: ShardClaim, files: Mapping[str, BinaryIO], max_bytes: int, weights: WeightsFile | None
) -> WeightsFile:
    """What the one pass over the weights found, once every file is the signed one."""
    total = sum(file.size for file in claim.files)
    if total > max_bytes:
        raise StatementError(f"files take {total} bytes, at most {max_bytes} are accepted")
    for file in claim.files:
        if file.name == WEIGHTS:
            weights = weights or scan_weights(files[file.name], file.size)
            _check_file(file, weights.size, weights.digest)
        else:
            _check_file(file, *measure(files[file.name]))
    if weights is None:
        raise StatementError(f"the claim lists no {WEIGHTS}")
    return weights


def _check_file(file: FileDigest, size: int, digest: Digest) -> None:
    if size != file.size:
        raise StatementError(f"{file.name} is {size} bytes long, the claim says {file.size}")
    if digest != file.digest:
        raise StatementError(f"{file.name} has {digest}, the claim says {file.digest}")


def _check_config(stream: BinaryIO, expected: bytes) -> None:
    stream.seek(0)
    if stream.read(len(expected) + 1) != expected:
        raise StatementError(f"{CONFIG} is not the recipe's configuration")


def _check_limits(claim: ShardClaim, contract: Contract) -> None:
    limits, gate = contract.limits, claim.gate
    if not gate.finite:
        raise StatementError("the party's own gate found weights that are not finite")
    if claim.images < limits.min_images:
        raise StatementError(f"trained on {claim.images} images, the contract asks for at least {limits.min_images}")
    if gate.memorized_share > limits.memorization_ceiling:
        raise StatementError(
            f"reproduces {gate.memorized_share:.2%} of the probed images,"
            f" the contract allows {limits.memorization_ceiling:.2%}",
        )
