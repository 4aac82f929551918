from dataclasses import replace
from typing import Any

import pytest
from trust.recalls import make_answer, make_recall
from trust.samples import NOON, Federation, Keys, at, make_order

from severable_trust.canonical import decode, encode
from severable_trust.contract import Contract
from severable_trust.denial import Denial, DenialReason
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope, sign
from severable_trust.errors import MalformedError, SignatureError, StatementError
from severable_trust.removal import Acknowledgement, ErasureRequest
from severable_trust.roster import Roster
from severable_trust.rotation import KeyRotation
from severable_trust.statement import (
    PAYLOAD_TYPE,
    Kind,
    Predicate,
    open_statement,
    read_unverified,
    sign_statement,
    statement_id,
)

SAMPLES = range(12)


def sample(federation: Federation, number: int) -> Predicate:
    acknowledgement = Acknowledgement(request=federation.request.id, received=NOON, expected_completion=at(20))
    keys = federation.keys
    rotation = KeyRotation(party="alice", previous=keys.alice.public_key, next=keys.bob.public_key, issued=NOON)
    recall = make_recall(federation.request.id)
    answer = make_answer(Digest.of(b"recall"))
    order = make_order(federation.contract.id)
    denial = Denial(
        request=federation.request.id,
        publisher="hub",
        party="alice",
        reason_code=DenialReason.OTHER,
        reason="said so",
        decided=NOON,
    )
    return (*federation.statements(), acknowledgement, rotation, recall, answer, order, denial)[number]


@pytest.mark.parametrize("number", SAMPLES)
def test_a_statement_of_every_kind_survives_signing(federation: Federation, number: int) -> None:
    value, signer = sample(federation, number), federation.keys.coordinator
    proven = open_statement(sign_statement(value, signer).to_bytes(), type(value), [signer.public_key])
    assert proven.value == value
    assert proven.signers == (signer.public_key.key_id,)
    assert proven.id == Digest.of(proven.envelope.payload)


def test_the_samples_are_of_every_kind(federation: Federation) -> None:
    assert {sample(federation, number).KIND for number in SAMPLES} == set(Kind)


@pytest.mark.parametrize("number", SAMPLES)
def test_a_predicate_survives_its_json(federation: Federation, number: int) -> None:
    value = sample(federation, number)
    assert type(value).from_predicate(decode(encode(value.to_predicate()), "predicate")) == value


@pytest.mark.parametrize("number", SAMPLES)
def test_the_payload_is_an_in_toto_statement(federation: Federation, number: int) -> None:
    value = sample(federation, number)
    payload: Any = decode(sign_statement(value, federation.keys.alice).payload, "payload")
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["predicateType"] == f"urn:severable:{value.KIND.value}:v1"
    names = [subject["name"] for subject in payload["subject"]]
    assert names
    assert len(set(names)) == len(names)
    assert all(set(subject["digest"]) == {"sha256"} for subject in payload["subject"])


@pytest.mark.parametrize("number", SAMPLES)
def test_an_unknown_field_at_any_level_is_refused(federation: Federation, number: int) -> None:
    payload = read(sign_statement(sample(federation, number), federation.keys.alice))
    for place in objects(payload):
        place["unknown"] = 1
        with pytest.raises(StatementError):
            reopen(payload, type(sample(federation, number)), federation.keys)
        del place["unknown"]
    assert reopen(payload, type(sample(federation, number)), federation.keys) == sample(federation, number)


@pytest.mark.parametrize("number", SAMPLES)
def test_a_missing_field_at_any_level_is_refused(federation: Federation, number: int) -> None:
    payload = read(sign_statement(sample(federation, number), federation.keys.alice))
    free = ("environment", "software")  # objects whose members are data, not fields
    for place in objects(payload, skip=free):
        for name in list(place):
            kept = place.pop(name)
            with pytest.raises(StatementError):
                reopen(payload, type(sample(federation, number)), federation.keys)
            place[name] = kept


def test_the_id_does_not_depend_on_who_signed(federation: Federation) -> None:
    value, keys = federation.contract.value, federation.keys
    both, one = sign_statement(value, keys.alice, keys.coordinator), sign_statement(value, keys.alice)
    assert statement_id(both) == statement_id(one) == federation.contract.id
    assert both.to_bytes() != one.to_bytes()


def test_a_statement_of_another_kind_is_refused(federation: Federation) -> None:
    with pytest.raises(StatementError, match="urn:severable:roster:v1"):
        open_statement(federation.roster.envelope, Contract, [federation.keys.coordinator.public_key])


def test_a_payload_of_another_type_is_refused(federation: Federation) -> None:
    envelope = sign(federation.roster.envelope.payload, "application/json", [federation.keys.coordinator])
    with pytest.raises(StatementError, match="payload type"):
        open_statement(envelope, Roster, [federation.keys.coordinator.public_key])


def test_a_wrong_subject_is_refused(federation: Federation) -> None:
    payload = read(federation.request.envelope)
    payload["subject"][1]["digest"]["sha256"] = "0" * 64
    with pytest.raises(StatementError, match="subject"):
        reopen(payload, ErasureRequest, federation.keys)


def test_a_list_in_another_order_is_refused(federation: Federation) -> None:
    payload = read(federation.roster.envelope)
    payload["predicate"]["parties"].reverse()
    with pytest.raises(StatementError, match="order"):
        reopen(payload, Roster, federation.keys)


def test_a_payload_that_is_not_canonical_is_refused_though_well_signed(federation: Federation) -> None:
    loose = federation.roster.envelope.payload.replace(b'"_type":', b'"_type": ')
    envelope = sign(loose, PAYLOAD_TYPE, [federation.keys.alice])
    with pytest.raises(StatementError, match="JSON form"):
        open_statement(envelope, Roster, [federation.keys.alice.public_key])


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"null", b'{"_type":"other"}'])
def test_a_payload_that_is_no_statement_is_refused(keys: Keys, payload: bytes) -> None:
    with pytest.raises((StatementError, MalformedError)):
        open_statement(sign(payload, PAYLOAD_TYPE, [keys.alice]), Roster, [keys.alice.public_key])


def test_the_signature_is_checked_before_the_content(keys: Keys) -> None:
    with pytest.raises(SignatureError):
        open_statement(sign(b"not json", PAYLOAD_TYPE, [keys.bob]), Roster, [keys.alice.public_key])


def test_a_threshold_is_asked_for(federation: Federation) -> None:
    keys = federation.keys
    one = sign_statement(federation.contract.value, keys.alice)
    both = [keys.alice.public_key, keys.coordinator.public_key]
    with pytest.raises(SignatureError, match="1 of the 2"):
        open_statement(one, Contract, both, threshold=2)
    assert len(open_statement(one.countersigned(keys.coordinator), Contract, both, threshold=2).signers) == 2


def test_what_could_not_be_opened_is_not_signed(federation: Federation) -> None:
    with pytest.raises(StatementError, match="reason: holds a control"):
        sign_statement(replace(federation.request.value, reason="two\nlines"), federation.keys.alice)


def test_an_unverified_statement_can_be_read_to_find_its_keys(federation: Federation) -> None:
    data = federation.request.envelope.to_bytes()
    assert read_unverified(data, ErasureRequest) == federation.request.value


def read(envelope: Envelope) -> Any:
    return decode(envelope.payload, "payload")


def reopen(payload: object, kind: type[Predicate], keys: Keys) -> Predicate:
    envelope = sign(encode(payload), PAYLOAD_TYPE, [keys.alice])
    return open_statement(envelope, kind, [keys.alice.public_key]).value


def objects(value: object, skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Every JSON object inside a value, outermost first."""
    if isinstance(value, list):
        return [found for entry in value for found in objects(entry, skip)]
    if not isinstance(value, dict):
        return []
    inner = [objects(entry, skip) for name, entry in value.items() if name not in skip]
    return [value, *(found for entry in inner for found in entry)]
