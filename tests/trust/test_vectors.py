import json
from pathlib import Path
from typing import Any

import pytest
from vectors import make

from severable_trust import errors
from severable_trust.bundle import TrustRoot, verify_receipt
from severable_trust.canonical import encode
from severable_trust.composite import CompositeManifest
from severable_trust.contract import Contract
from severable_trust.envelope import Envelope
from severable_trust.log_bundle import Tally, verify_log_bundle
from severable_trust.merkle import leaf_hash, verify_consistency, verify_inclusion
from severable_trust.recall_bundle import verify_recall
from severable_trust.removal import Acknowledgement, ErasureRequest, Receipt
from severable_trust.roster import Roster
from severable_trust.shard import ShardClaim
from severable_trust.statement import Predicate, open_statement

BUILT = make.build()
VECTORS = Path(make.__file__).parent
KINDS: dict[str, type[Predicate]] = {
    kind.KIND.value: kind
    for kind in (Contract, ShardClaim, CompositeManifest, ErasureRequest, Acknowledgement, Receipt, Roster)
}


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_bytes())


def trust_root() -> TrustRoot:
    return TrustRoot.parse((VECTORS / "trust-root-v1.json").read_bytes())


@pytest.mark.parametrize("name", sorted(BUILT))
def test_the_vectors_come_out_byte_for_byte(name: str) -> None:
    assert BUILT[name] == (VECTORS / name).read_bytes()


def test_a_receipt_of_version_1_is_still_verified() -> None:
    verified = verify_receipt((VECTORS / "receipt-v1.json").read_bytes(), trust_root())
    assert verified.receipt.value.party == "alice"


def test_a_recall_of_version_1_is_still_verified() -> None:
    verified = verify_recall((VECTORS / "recall-v1.json").read_bytes(), trust_root())
    assert verified.recall.value.recipient == "museum"


def test_a_log_of_version_1_is_still_verified() -> None:
    verified = verify_log_bundle((VECTORS / "log-bundle-v1.json").read_bytes(), trust_root())
    assert verified.total == Tally(entries=9, verified=8, erased=1)
    assert [name for name, _ in verified.cosigners] == ["alice"]


@pytest.mark.parametrize("name", sorted(read("receipts-refused.json")))
def test_a_receipt_of_the_refused_ones_is_still_refused(name: str) -> None:
    vector = read("receipts-refused.json")[name]
    with pytest.raises(errors.TrustError) as caught:
        verify_receipt(vector["text"].encode(), trust_root())
    assert type(caught.value).__name__ == vector["error"]


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_statement_of_version_1_is_still_opened(number: int) -> None:
    vector = read("statements.json")[number]
    kind = KINDS[vector["kind"]]
    proven = open_statement(encode(vector["envelope"]), kind, [trust_root().coordinator_key])
    assert str(proven.id) == vector["id"]
    assert proven.value == kind.from_predicate(vector["predicate"])
    assert Envelope.from_object(vector["envelope"]).payload.decode() == vector["payload"]


def test_the_proofs_of_the_vectors_are_still_accepted() -> None:
    log = read("log.json")
    roots = [bytes.fromhex(root) for root in log["roots"]]
    for vector in log["inclusion"]:
        leaf, proof = leaf_hash(bytes.fromhex(log["leaves"][vector["index"]])), from_hex(vector["proof"])
        verify_inclusion(vector["index"], vector["size"], leaf, proof, roots[vector["size"]])
    for vector in log["consistency"]:
        old, new = vector["old"], vector["new"]
        verify_consistency(old, new, roots[old], roots[new], from_hex(vector["proof"]))


def from_hex(proof: list[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in proof]
