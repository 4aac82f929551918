"""Altered logs, statements and files, which the script of docs/verify-by-hand.md refuses as the verifier does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trust.by_hand import bundled, check_refused, one_bit, removal_under
from trust.samples import (
    LOG_NAME,
    Federation,
    at,
    make_contract,
    make_request,
    make_roster,
    prove,
)

from severable_trust.canonical import encode
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope, Signature, pae
from severable_trust.statement import PAYLOAD_TYPE

# Some forty runs of the script. In `make test`: the same cases of the verifier, and test_verify_by_hand.py.
pytestmark = [pytest.mark.integration, pytest.mark.soak]

# The log


@pytest.mark.parametrize("index", [0, 1, 3, 4, 10**17, 10**20])
def test_a_proof_at_another_index_is_refused_by_hand(tmp_path: Path, federation: Federation, index: int) -> None:
    altered = replace(federation.bundle(), proof=replace(federation.proof(), index=index))
    check_refused(tmp_path, altered.to_bytes(), federation.root, "log proof: ")


def test_a_proof_with_other_hashes_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    proof = federation.proof()
    first, second = proof.hashes
    for hashes in ((first,), (), (first, second, second), (second, first), (one_bit(first), second)):
        altered = replace(federation.bundle(), proof=replace(proof, hashes=hashes))
        check_refused(tmp_path, altered.to_bytes(), federation.root, "proof")


def test_a_text_around_the_proof_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    value = json.loads(federation.bundle().to_bytes())
    usual: str = value["proof"]
    for altered in (
        "",
        usual + "\n",
        usual[:-1],
        "extra AAAA\n" + usual,
        usual.replace("index 2\n", "index 2\nextra AAAA\n"),
        usual.replace("index 2", "index 02"),
        usual.replace("\n4\n", "\n04\n"),
        usual.replace("\n", "\r\n"),
        usual.replace("index 2", "index 2\x00"),
        usual.replace("\n\n\N{EM DASH}", "\nextension\n\n\N{EM DASH}"),
        usual.replace(f"{LOG_NAME} ", "$(false)x[`false`] "),
    ):
        check_refused(tmp_path, encode({**value, "proof": altered}), federation.root, "log proof: ")


# What the statements say


def test_a_receipt_that_does_not_fit_the_other_statements_is_refused_by_hand(
    tmp_path: Path, federation: Federation
) -> None:
    usual, keys = federation.receipt.value, federation.keys
    second = prove(make_request(federation.contract.id, federation.claim.id, Digest.of(b"second")), keys.alice)
    late = prove(replace(federation.request.value, submitted=at(20)), keys.alice)
    elsewhere = prove(replace(federation.request.value, contract=Digest.of(b"other")), keys.alice)
    of_bob = prove(replace(federation.request.value, party="bob"), keys.alice)
    expired = prove(replace(make_roster(keys), expires=at(15)), keys.coordinator)
    cases: tuple[tuple[str, Any, dict[str, Envelope]], ...] = (
        ("published by another", replace(usual, publisher="bob"), {}),
        ("request: the party did not sign it", replace(usual, party="bob"), {}),
        ("answers another request", replace(usual, request=Digest.of(b"other")), {}),
        ("rests on another contract", replace(usual, contract=Digest.of(b"other")), {}),
        ("not among the removed", replace(usual, request=second.id), {"request": second.envelope}),
        ("before its request", replace(usual, request=late.id), {"request": late.envelope}),
        ("request rests on another", replace(usual, request=elsewhere.id), {"request": elsewhere.envelope}),
        ("request is of another party", replace(usual, request=of_bob.id), {"request": of_bob.envelope}),
        ("roster had expired", usual, {"roster": expired.envelope}),
    )
    for why, value, parts in cases:
        check_refused(tmp_path, bundled(federation, value, **parts).to_bytes(), federation.root, why)


def test_a_contract_between_others_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    keys, usual = federation.keys, make_contract(federation.keys)
    for contract, why in (
        (replace(usual, assigner=replace(usual.assigner, id="bob")), "contract is of another party"),
        (replace(usual, assignee=replace(usual.assignee, id="other")), "with another coordinator"),
        (
            replace(usual, assigner=replace(usual.assigner, key_id=keys.bob.public_key.key_id)),
            "another key of the party",
        ),
    ):
        receipt, parts = removal_under(federation, prove(contract, keys.alice, keys.coordinator).envelope)
        check_refused(tmp_path, bundled(federation, receipt, **parts).to_bytes(), federation.root, why)


# The file


def test_another_spelling_of_the_same_file_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    for altered in (
        b"",
        data + b"\n",
        data + data,
        data[:-1],
        data.replace(
            b'"format":"severable-receipt/v1"', b'"format":"severable-receipt/v1","format":"severable-receipt/v1"'
        ),
        data.replace(b"severable-receipt/v1", b"severable-receipt/v2"),
        data.replace(b"severable-receipt/v1", b"severable-receipt\\/v1"),
        data.replace(b'"keyid"', b'"keyId"', 1),
        encode({**json.loads(data), "note": ""}),
        encode({name: value for name, value in json.loads(data).items() if name != "roster"}),
        b"\xef\xbb\xbf" + data,
        b"\xff" + data,
        b"[]",
    ):
        check_refused(tmp_path, altered, federation.root, "receipt file: ")


def test_a_payload_in_another_spelling_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    """Signed by the right key and logged: the coordinator itself would have written a field twice."""
    payload = federation.receipt.envelope.payload
    twice = payload.replace(b'"outcome":"complete"', b'"outcome":"partial","outcome":"complete"')
    for altered in (twice, payload + b"\n", payload.replace(b":", b": ", 1)):
        signature = federation.keys.coordinator.sign(pae(PAYLOAD_TYPE, altered))
        receipt = Envelope(altered, PAYLOAD_TYPE, (Signature(federation.receipt.signers[0], signature),))
        bundle = replace(federation.bundle(), receipt=receipt, proof=federation.proof(receipt))
        check_refused(tmp_path, bundle.to_bytes(), federation.root, "canonical JSON")
