"""Attacks with statements over the running service: another kind, another spelling, unknown fields, one key twice."""

import json
from typing import Any

import grpc
import pytest
from coordinator.federation import shard_files, terms
from coordinator.served import TIMEOUT_S, Served, refused

from severable_protos.v1 import exchange_pb2 as pb
from severable_trust.envelope import Envelope, sign
from severable_trust.statement import PAYLOAD_TYPE


def offered(served: Served) -> Envelope:
    served.world.coordinator.contracting.offer("archive", served.world.recipe, terms())
    listing = served.stub("archive").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    return Envelope.parse(listing.contracts[0].envelope)


def altered(envelope: Envelope, served: Served, old: bytes, new: bytes) -> bytes:
    """The payload with one change, signed anew by the party alone."""
    payload = envelope.payload.replace(old, new, 1)
    assert payload != envelope.payload
    return sign(payload, PAYLOAD_TYPE, [served.world.owners["archive"].signer]).to_bytes()


def test_a_contract_is_no_erasure_request_no_claim_and_no_rotation(served: Served) -> None:
    stub = served.stub("archive")
    contract = sign(offered(served).payload, PAYLOAD_TYPE, [served.world.owners["archive"].signer]).to_bytes()
    for call, message in (
        (stub.RequestErasure, pb.RequestErasureRequest(envelope=contract)),
        (stub.OpenUpload, pb.OpenUploadRequest(claim=contract)),
        (stub.RotateKey, pb.RotateKeyRequest(envelope=contract)),
    ):
        error = refused(call, message)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "predicate type is 'urn:severable:contract:v1'" in str(error.details())


def test_an_erasure_request_is_no_contract(served: Served) -> None:
    contract = served.world.agree("archive")
    request = served.world.ask_for_erasure("archive", contract)
    error = refused(served.stub("archive").SignContract, pb.SignContractRequest(envelope=request.to_bytes()))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_an_offer_whose_terms_the_party_changed_is_not_the_offer(served: Served) -> None:
    forged = altered(offered(served), served, b'"notice_days":0', b'"notice_days":9')
    error = refused(served.stub("archive").SignContract, pb.SignContractRequest(envelope=forged))
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"predicate":{', b'"predicate":{"approved":true,', "unknown"),
        (b'{"_type":', b'{"_type":"x","_type":', "twice"),
        (b'"clause":', b'"clause" :', "not canonical|form"),
    ],
    ids=["an unknown field", "a key twice", "white space"],
)
def test_a_well_signed_request_in_another_form_is_refused(served: Served, old: bytes, new: bytes, why: str) -> None:
    request = served.world.ask_for_erasure("archive", served.world.agree("archive"))
    error = refused(
        served.stub("archive").RequestErasure,
        pb.RequestErasureRequest(envelope=altered(request, served, old, new)),
    )
    assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
    assert any(word in str(error.details()) for word in why.split("|")), error.details()
    assert served.world.coordinator.removals.removals() == []


def claim_object(served: Served) -> Any:
    contract = served.world.agree("archive")
    claim = served.world.claim("archive", shard_files("archive"), nonce="ab" * 32, contract=contract)
    return json.loads(claim.to_bytes())


def test_an_envelope_that_lists_one_key_twice_is_refused(served: Served) -> None:
    claim = served.world.claim(
        "archive", shard_files("archive"), nonce="ab" * 32, contract=served.world.agree("archive")
    )
    value = json.loads(claim.to_bytes())
    value["signatures"] *= 2
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=data))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_one_signature_under_another_key_id_is_refused(served: Served) -> None:
    claim = served.world.claim(
        "archive", shard_files("archive"), nonce="ab" * 32, contract=served.world.agree("archive")
    )
    value = json.loads(claim.to_bytes())
    value["signatures"][0]["keyid"] = served.world.owners["clinic"].signer.public_key.key_id
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=data))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "unknown key" in str(error.details())


def test_a_payload_that_is_not_base64_or_not_json_is_refused_in_one_line(served: Served) -> None:
    for payload in (b"\xff\xfe", b"[" * 100_000, b'{"a":1e999}', b""):
        signed = sign(payload, PAYLOAD_TYPE, [served.world.owners["archive"].signer]).to_bytes() if payload else b"{}"
        error = refused(served.stub("archive").RequestErasure, pb.RequestErasureRequest(envelope=signed))
        assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
    broken = {"payload": "!!!", "payloadType": PAYLOAD_TYPE, "signatures": []}
    data = json.dumps(broken, separators=(",", ":")).encode()
    error = refused(served.stub("archive").RequestErasure, pb.RequestErasureRequest(envelope=data))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
