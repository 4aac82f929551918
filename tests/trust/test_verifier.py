"""Every step of admission has a shard that only this step can refuse."""

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from trust.samples import Federation, make_claim, make_contract, make_roster, prove
from trust.shard_data import TENSORS, safetensors, shard_files, streams, weights

from severable_trust.contract import Action, Contract, ContractState, PartyRef
from severable_trust.digest import Digest
from severable_trust.envelope import sign
from severable_trust.errors import AdmissionError
from severable_trust.keys import PemSigner, Signer
from severable_trust.roster import PartyStatus
from severable_trust.shard import WEIGHTS, ShardClaim, SubShard
from severable_trust.statement import PAYLOAD_TYPE, Proven, sign_statement
from severable_trust.tensors import TensorSpec
from severable_trust.verifier import AdmissionPolicy, Shard, admit
from severable_trust.weights import WeightsScan, scan_weights


def submit(
    federation: Federation,
    *,
    policy: AdmissionPolicy | None = None,
    files: Mapping[str, bytes] | None = None,
    claim: ShardClaim | None = None,
    signer: Signer | None = None,
) -> Shard:
    """A shard that is right in everything, except for what is given."""
    sent = shard_files() if files is None else files
    value = claim or make_claim(federation.contract.id, shard_files() if set(sent) != set(shard_files()) else sent)
    envelope = sign_statement(value, signer or federation.keys.alice)
    return judged_alike(envelope.to_bytes(), sent, value, policy or federation.policy())


def judged_alike(envelope: bytes, sent: Mapping[str, bytes], claim: ShardClaim, policy: AdmissionPolicy) -> Shard:
    """The verifier's word, which is the same where the weights were looked at while they came in."""
    scan = WeightsScan(next(file.size for file in claim.files if file.name == WEIGHTS))
    scan.feed(sent.get(WEIGHTS, b""))
    rest = streams({name: data for name, data in sent.items() if name != WEIGHTS})
    came = verdict(lambda: admit(envelope, rest, policy, scan.found() if WEIGHTS in sent else None))
    read = verdict(lambda: admit(envelope, streams(sent), policy))
    if isinstance(read, AdmissionError):
        assert isinstance(came, AdmissionError)
        assert (came.step, str(came)) == (read.step, str(read))
        raise read
    assert came == read
    return read


def verdict(judge: Callable[[], Shard]) -> Shard | AdmissionError:
    try:
        return judge()
    except AdmissionError as error:
        return error


def test_weights_that_are_given_twice_are_refused(federation: Federation) -> None:
    found = scan_weights(io.BytesIO(weights()), len(weights()))
    with pytest.raises(AdmissionError, match="5 file list"):
        admit(federation.claim.envelope.to_bytes(), streams(shard_files()), federation.policy(), found)


def refused(federation: Federation, step: int, why: str, **given: Any) -> None:
    with pytest.raises(AdmissionError, match=why) as caught:
        submit(federation, **given)
    assert caught.value.step.startswith(f"{step} ")
    assert str(caught.value).startswith(f"shard refused at step {step} ")
    assert "\n" not in str(caught.value)


def claimed(federation: Federation, **fields: Any) -> ShardClaim:
    return replace(make_claim(federation.contract.id, shard_files()), **fields)


def test_a_shard_that_is_right_is_admitted_under_the_id_of_its_claim(federation: Federation) -> None:
    envelope = federation.claim.envelope.to_bytes()
    shard = admit(envelope, streams(shard_files()), federation.policy())
    assert shard.id == federation.claim.id
    assert shard.claim == federation.claim


@pytest.mark.parametrize("envelope", [b"", b"{}", b"\x80\x04pickle"])
def test_bytes_that_are_no_claim_are_refused(federation: Federation, envelope: bytes) -> None:
    with pytest.raises(AdmissionError) as caught:
        admit(envelope, streams(shard_files()), federation.policy())
    assert caught.value.step == "1 well formed"


def test_a_shard_signed_by_another_party_is_refused(federation: Federation) -> None:
    refused(federation, 2, "unknown key", signer=federation.keys.bob)


def test_a_shard_signed_by_a_stranger_is_refused(federation: Federation) -> None:
    refused(federation, 2, "unknown key", signer=PemSigner.generate())


def test_a_shard_of_a_revoked_party_is_refused(federation: Federation) -> None:
    policy = replace(federation.policy(), roster=make_roster(federation.keys, PartyStatus.REVOKED))
    refused(federation, 2, "revoked", policy=policy)


def test_a_shard_of_a_party_that_is_not_in_the_roster_is_refused(federation: Federation) -> None:
    refused(federation, 2, "no party", policy=replace(federation.policy(), party="mallory"))


def test_an_expired_roster_admits_nothing(federation: Federation) -> None:
    policy = federation.policy()
    refused(federation, 2, "expired", policy=replace(policy, now=policy.roster.expires))


def test_another_statement_of_the_same_party_is_no_claim(federation: Federation) -> None:
    envelope = sign(federation.request.envelope.payload, PAYLOAD_TYPE, [federation.keys.alice])
    with pytest.raises(AdmissionError, match="predicate type") as caught:
        admit(envelope.to_bytes(), streams(shard_files()), federation.policy())
    assert caught.value.step.startswith("2 ")


def test_a_claim_altered_after_signing_is_refused(federation: Federation) -> None:
    envelope = federation.claim.envelope
    payload = envelope.payload.replace(b'"images":100', b'"images":900')
    with pytest.raises(AdmissionError, match="wrong") as caught:
        admit(replace(envelope, payload=payload).to_bytes(), streams(shard_files()), federation.policy())
    assert caught.value.step.startswith("2 ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("party", "bob"),
        ("nonce", "00" * 32),
        ("recipe", Digest.of(b"another recipe")),
        ("contract", Digest.of(b"another contract")),
    ],
)
def test_a_shard_for_another_task_is_refused(federation: Federation, field: str, value: object) -> None:
    refused(federation, 3, field, claim=claimed(federation, **{field: value}))


def divided(federation: Federation, count: int) -> Proven[Contract]:
    usual, keys = make_contract(federation.keys), federation.keys
    return prove(replace(usual, limits=replace(usual.limits, sub_shards=count)), keys.alice, keys.coordinator)


def test_a_sub_shard_that_the_task_asked_for_is_admitted(federation: Federation) -> None:
    contract = divided(federation, 4)
    claim = replace(make_claim(contract.id, shard_files()), sub_shard=SubShard(index=3, count=4))
    policy = replace(federation.policy(), contract=contract, sub_shard=3)
    envelope = sign_statement(claim, federation.keys.alice).to_bytes()
    assert admit(envelope, streams(shard_files()), policy).claim.value.sub_shard == SubShard(index=3, count=4)


@pytest.mark.parametrize(
    ("count", "asked", "claimed_part"),
    [
        (4, 3, SubShard(index=2, count=4)),  # another sub-shard than the task's
        (4, 3, SubShard(index=3, count=8)),  # counted otherwise than the contract
        (4, 3, None),  # all records under a contract that divides them
        (None, None, SubShard(index=0, count=4)),  # a part under a contract that does not
        (4, None, None),  # a task that knows nothing of the contract's sub-shards
        (None, 0, None),
        (4, 4, SubShard(index=0, count=4)),
    ],
)
def test_a_shard_of_another_sub_shard_than_task_and_contract_say_is_refused(
    federation: Federation, count: int | None, asked: int | None, claimed_part: SubShard | None
) -> None:
    contract = federation.contract if count is None else divided(federation, count)
    claim = replace(make_claim(contract.id, shard_files()), sub_shard=claimed_part)
    policy = replace(federation.policy(), contract=contract, sub_shard=asked)
    refused(federation, 3, "sub", claim=claim, policy=policy)


def test_a_contract_of_another_party_or_key_or_coordinator_does_not_cover_the_shard(federation: Federation) -> None:
    keys, usual = federation.keys, make_contract(federation.keys)
    bob = PartyRef("bob", "Bob Ltd", keys.alice.public_key.key_id)
    old = PartyRef("alice", "Alice Ltd", keys.bob.public_key.key_id)
    other = PartyRef("other", "Other AG", keys.coordinator.public_key.key_id)
    for contract, why in (
        (replace(usual, assigner=bob), "assigner"),
        (replace(usual, assigner=old), "key"),
        (replace(usual, assignee=other), "assignee"),
    ):
        proven = prove(contract, keys.alice, keys.coordinator)
        claim = make_claim(proven.id, shard_files())
        refused(federation, 3, why, claim=claim, policy=replace(federation.policy(), contract=proven))


@pytest.mark.parametrize("state", sorted(set(ContractState) - {ContractState.ACTIVE}))
def test_a_shard_under_a_contract_that_is_not_active_is_refused(federation: Federation, state: ContractState) -> None:
    refused(federation, 4, f"is {state}", policy=replace(federation.policy(), state=state))


def test_a_shard_out_of_the_contracts_term_is_refused(federation: Federation) -> None:
    policy = federation.policy()
    early = policy.contract.value.valid_from.replace(year=2025)
    refused(federation, 4, "out of term", policy=replace(policy, now=early))


@pytest.mark.parametrize("action", [Action.TRAIN, Action.COMPOSE])
def test_a_contract_without_one_of_the_permissions_refuses_the_shard(federation: Federation, action: Action) -> None:
    usual, keys = make_contract(federation.keys), federation.keys
    rest = tuple(permitted for permitted in usual.permissions if permitted is not action)
    proven = prove(replace(usual, permissions=rest), keys.alice, keys.coordinator)
    policy = replace(federation.policy(), contract=proven)
    refused(federation, 4, action, policy=policy, claim=make_claim(proven.id, shard_files()))


def test_a_recipe_that_the_contract_does_not_name_is_refused(federation: Federation) -> None:
    other = Digest.of(b"another recipe")
    policy = replace(federation.policy(), recipe=other)
    refused(federation, 4, "recipe", policy=policy, claim=claimed(federation, recipe=other))


@pytest.mark.parametrize("missing", sorted(shard_files()))
def test_a_missing_file_is_refused(federation: Federation, missing: str) -> None:
    files = {name: data for name, data in shard_files().items() if name != missing}
    refused(federation, 5, "not exactly", files=files)


@pytest.mark.parametrize("extra", [".git/hooks/evil", "../escape", "pytorch_model.bin"])
def test_a_further_file_is_refused(federation: Federation, extra: str) -> None:
    refused(federation, 5, "not exactly", files={**shard_files(), extra: b""})


@pytest.mark.parametrize("name", sorted(shard_files()))
@pytest.mark.parametrize("position", [0, -1])
def test_a_file_with_one_byte_changed_is_refused(federation: Federation, name: str, position: int) -> None:
    altered = bytearray(shard_files()[name])
    altered[position] ^= 1
    refused(federation, 6, name, files={**shard_files(), name: bytes(altered)}, claim=claimed(federation))


@pytest.mark.parametrize("change", [b"", b"x"])
def test_a_file_of_another_length_is_refused(federation: Federation, change: bytes) -> None:
    files = shard_files()
    longer = files["manifest.json"] + b"x" if change else files["manifest.json"][:-1]
    refused(federation, 6, "bytes long", files={**files, "manifest.json": longer}, claim=claimed(federation))


def test_files_that_take_more_than_agreed_are_refused(federation: Federation) -> None:
    refused(federation, 6, "at most 10 are", policy=replace(federation.policy(), max_bytes=10))


@pytest.mark.parametrize("config", [b"", b'{"sample_size":9}', b'{"sample_size":8} ', b'{"sample_size": 8}'])
def test_a_configuration_that_is_not_the_recipes_is_refused(federation: Federation, config: bytes) -> None:
    refused(federation, 7, "not the recipe's", files={**shard_files(), "config.json": config})


def test_a_pickle_in_the_place_of_the_weights_is_refused(federation: Federation) -> None:
    refused(federation, 8, "not a safetensors file", files=shard_files(b"\x80\x04\x95" + b"\x00" * 64))


def test_weights_with_bytes_behind_the_tensors_are_refused(federation: Federation) -> None:
    refused(federation, 8, "tensors end", files=shard_files(weights() + b"PK\x03\x04"))


def test_a_tensor_of_another_name_shape_or_dtype_is_refused(federation: Federation) -> None:
    usual = TENSORS["conv.bias"]
    for expected, why in (
        ({**TENSORS, "conv.more": usual}, "missing"),
        ({"conv.weight": TENSORS["conv.weight"]}, "not in the recipe"),
        ({**TENSORS, "conv.bias": TensorSpec("F32", (3,))}, "expected"),
        ({**TENSORS, "conv.bias": TensorSpec("F16", (2,))}, "expected"),
    ):
        refused(federation, 8, why, policy=replace(federation.policy(), tensors=expected))


@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
def test_one_weight_that_is_not_a_number_is_refused(federation: Federation, special: float) -> None:
    refused(federation, 9, r"'conv.weight' holds NaN or an infinity", files=shard_files(weights(special)))


def test_the_last_weight_is_looked_at_too(federation: Federation) -> None:
    model = safetensors(
        {
            "conv.weight": (TENSORS["conv.weight"], struct.pack("<6f", *range(6))),
            "conv.bias": (TENSORS["conv.bias"], struct.pack("<2f", 0, float("nan"))),
        }
    )
    refused(federation, 9, r"'conv.bias'", files=shard_files(model))


def test_too_few_images_are_refused(federation: Federation) -> None:
    data = replace(federation.claim.value.data, classes=())
    enough = claimed(federation, images=10, data=replace(data, images=10))
    assert submit(federation, claim=enough).claim.value.images == 10
    refused(federation, 10, "9 images", claim=claimed(federation, images=9, data=replace(data, images=9)))


def test_a_shard_that_reproduces_too_much_is_refused(federation: Federation) -> None:
    gate = make_claim(federation.contract.id, shard_files()).gate
    at_the_ceiling = replace(gate, memorized_share=0.02)
    admitted = submit(federation, claim=claimed(federation, gate=at_the_ceiling))
    assert admitted.claim.value.gate == at_the_ceiling
    refused(federation, 10, "3.00%", claim=claimed(federation, gate=replace(gate, memorized_share=0.03)))


def test_a_shard_whose_own_gate_found_it_wanting_is_refused(federation: Federation) -> None:
    gate = make_claim(federation.contract.id, shard_files()).gate
    refused(federation, 10, "own gate", claim=claimed(federation, gate=replace(gate, finite=False)))
