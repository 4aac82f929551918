"""`docs/verify-receipt.sh` (jq, openssl, sha256sum) and `verify_receipt` say the same, and the page's commands work.

Out of the script's reach, and therefore not among these cases, is the form of what the right keys did sign: unknown or
missing fields, ranges and sorted lists of a predicate, the `subject` list, the spelling of a contract's two fractions,
node keys in the roster. The page lists them; tests of the package's own verifier cover them.
"""

import base64
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tools import require_tools
from trust.by_hand import DOCS, TOOLS, VECTORS, bundled, check_accepted, check_refused, one_bit, removal_under
from trust.samples import (
    LOG_NAME,
    NOON,
    Federation,
    Keys,
    MemoryLog,
    make_contract,
    make_roster,
    prove,
)

from severable_trust.bundle import ReceiptBundle, TrustRoot, verify_receipt
from severable_trust.canonical import encode
from severable_trust.checkpoint import LogProof
from severable_trust.envelope import Envelope, Signature, pae
from severable_trust.keys import PemSigner
from severable_trust.merkle import inclusion_proof, root
from severable_trust.note import Checkpoint, KeyType, LogSigner, cosign, sign_note
from severable_trust.roster import PartyStatus
from severable_trust.statement import sign_statement

STATEMENTS = ("receipt", "request", "contract", "roster")


def vector_root() -> TrustRoot:
    return TrustRoot.parse((VECTORS / "trust-root-v1.json").read_bytes())


def test_the_receipt_of_the_vectors_is_verified_by_hand(tmp_path: Path) -> None:
    check_accepted(tmp_path, (VECTORS / "receipt-v1.json").read_bytes(), vector_root())


def test_the_commands_of_the_page_verify_the_receipt_of_the_vectors(tmp_path: Path) -> None:
    require_tools(*TOOLS)
    page = (DOCS / "verify-by-hand.md").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    for name in ("receipt", "trust-root"):
        (tmp_path / f"{name}.json").write_bytes((VECTORS / f"{name}-v1.json").read_bytes())
    run = ["bash", "-euo", "pipefail", "-c", commands]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.count("Verified OK") == 5
    assert "Signature Verified Successfully" in shown
    lines = shown.splitlines()
    reached = lines.index("0")  # after the climb: the root that was reached, and the checkpoint's
    assert lines[reached + 1] == lines[reached + 2]
    log_root = verify_receipt((VECTORS / "receipt-v1.json").read_bytes(), vector_root()).checkpoint.root
    assert lines[reached + 1] == base64.b64encode(log_root).decode()


@pytest.mark.parametrize("name", sorted(json.loads((VECTORS / "receipts-refused.json").read_bytes())))
def test_a_receipt_of_the_refused_ones_is_refused_by_hand(tmp_path: Path, name: str) -> None:
    vector = json.loads((VECTORS / "receipts-refused.json").read_bytes())[name]
    check_refused(tmp_path, vector["text"].encode(), vector_root())


@pytest.mark.parametrize("others", [0, 1, 6, 7, 30])
def test_a_fresh_receipt_is_verified_by_hand_wherever_it_stands_in_the_log(tmp_path: Path, others: int) -> None:
    fresh = Federation.build(Keys.generate())
    check_accepted(tmp_path, replace(fresh.bundle(), proof=fresh.proof(others=others)).to_bytes(), fresh.root)


def test_a_receipt_alone_in_its_log_is_verified_by_hand(tmp_path: Path, federation: Federation) -> None:
    log = MemoryLog()
    log.append(encode_entry(federation))
    checkpoint = sign_note(Checkpoint(LOG_NAME, 1, root(log, 1)).text, federation.keys.log)
    proof = LogProof(0, inclusion_proof(log, 0, 1), checkpoint)
    check_accepted(tmp_path, replace(federation.bundle(), proof=proof).to_bytes(), federation.root)


def encode_entry(federation: Federation) -> bytes:
    receipt = federation.receipt
    return encode({"kind": "receipt", "signers": list(receipt.signers), "statement": str(receipt.id)})


def test_a_receipt_of_a_party_revoked_since_then_is_verified_by_hand(tmp_path: Path, federation: Federation) -> None:
    roster = prove(make_roster(federation.keys, PartyStatus.REVOKED), federation.keys.coordinator)
    check_accepted(tmp_path, replace(federation.bundle(), roster=roster.envelope).to_bytes(), federation.root)


def test_a_contract_with_small_fractions_is_verified_by_hand(tmp_path: Path, federation: Federation) -> None:
    value = replace(make_contract(federation.keys), weight=1e-7)
    receipt, parts = removal_under(
        federation, prove(value, federation.keys.alice, federation.keys.coordinator).envelope
    )
    check_accepted(tmp_path, bundled(federation, receipt, **parts).to_bytes(), federation.root)


# Witnesses


def witnessed(federation: Federation) -> tuple[ReceiptBundle, TrustRoot, LogSigner]:
    witnesses = [LogSigner.generate(f"{name}.example", KeyType.COSIGNATURE) for name in ("alice", "bob")]
    trust_root = replace(federation.root, witnesses=tuple(witness.vkey for witness in witnesses))
    bundle = federation.bundle()
    note = bundle.proof.checkpoint
    for witness in witnesses:
        note = cosign(note, witness, NOON)
    return replace(bundle, proof=replace(bundle.proof, checkpoint=note)), trust_root, witnesses[1]


def test_a_receipt_that_every_witness_cosigned_is_verified_by_hand(tmp_path: Path, federation: Federation) -> None:
    bundle, trust_root, _ = witnessed(federation)
    check_accepted(tmp_path, bundle.to_bytes(), trust_root)


def test_a_receipt_that_a_witness_has_not_cosigned_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    bundle, trust_root, _ = witnessed(federation)
    check_refused(tmp_path, federation.bundle().to_bytes(), trust_root, "a witness has not signed")
    check_refused(tmp_path, bundle.to_bytes(), federation.root, "neither trust root nor roster names")


def test_a_cosignature_of_another_time_or_twice_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    bundle, trust_root, witness = witnessed(federation)
    note = bundle.proof.checkpoint
    *_, last = note.splitlines(keepends=True)
    raw = bytearray(base64.b64decode(last.split(" ")[2]))
    raw[11] ^= 1  # the last byte of the time
    moved = note.replace(last, f"\N{EM DASH} {witness.key.name} {base64.b64encode(raw).decode()}\n")
    for altered, why in ((moved, "signature under the checkpoint is wrong"), (note + last, "second one")):
        proof = replace(bundle.proof, checkpoint=altered)
        check_refused(tmp_path, replace(bundle, proof=proof).to_bytes(), trust_root, why)


# Signatures


@pytest.mark.parametrize(
    ("name", "place"), [("receipt", 0), ("request", 0), ("contract", 0), ("contract", 1), ("roster", 0)]
)
def test_one_bit_of_a_signature_is_enough_to_be_refused_by_hand(
    tmp_path: Path, federation: Federation, name: str, place: int
) -> None:
    envelope: Envelope = getattr(federation.bundle(), name)
    signatures = list(envelope.signatures)
    signatures[place] = Signature(signatures[place].key_id, one_bit(signatures[place].value))
    altered = Envelope(envelope.payload, envelope.payload_type, tuple(signatures))
    bundle = replace(federation.bundle(), **{name: altered})  # type: ignore[arg-type]  # the member of that name
    check_refused(tmp_path, bundle.to_bytes(), federation.root, f"{name}: the signature of the .* is wrong")


def test_one_bit_of_a_signature_under_the_checkpoint_is_enough(tmp_path: Path, federation: Federation) -> None:
    bundle, trust_root, _ = witnessed(federation)
    for place in range(3):
        head, lines = bundle.proof.checkpoint.split("\n\n")
        signed = lines.splitlines()
        mark, name, text = signed[place].split(" ")
        signed[place] = f"{mark} {name} {base64.b64encode(one_bit(base64.b64decode(text))).decode()}"
        altered = replace(bundle.proof, checkpoint="\n\n".join((head, "\n".join(signed) + "\n")))
        check_refused(tmp_path, replace(bundle, proof=altered).to_bytes(), trust_root, "is wrong")


def test_one_bit_of_a_payload_is_enough_to_be_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    for name in STATEMENTS:
        envelope: Envelope = getattr(federation.bundle(), name)
        altered = Envelope(one_bit(envelope.payload), envelope.payload_type, envelope.signatures)
        bundle = replace(federation.bundle(), **{name: altered})  # type: ignore[arg-type]  # the member of that name
        check_refused(tmp_path, bundle.to_bytes(), federation.root, f"{name}: the signature of the .* is wrong")


def test_a_further_signature_by_a_stranger_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    bundle = federation.bundle()
    for name in STATEMENTS:
        more = getattr(bundle, name).countersigned(PemSigner.generate())
        # An envelope is part of no digest, so only the count of signatures tells.
        altered = replace(bundle, **{name: more})
        check_refused(tmp_path, altered.to_bytes(), federation.root, "not signed by exactly")


def test_a_payload_of_another_type_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    envelope = federation.receipt.envelope
    signature = federation.keys.coordinator.sign(pae("text/plain", envelope.payload))
    other = Envelope(envelope.payload, "text/plain", (Signature(envelope.signatures[0].key_id, signature),))
    altered = replace(federation.bundle(), receipt=other)
    check_refused(tmp_path, altered.to_bytes(), federation.root, "a payload type")


# Whose keys


def test_another_trust_root_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    data, usual = federation.bundle().to_bytes(), federation.root
    stranger = LogSigner.generate(LOG_NAME)
    check_refused(tmp_path, data, Federation.build(Keys.generate()).root, "not signed by exactly these: coordinator")
    check_refused(tmp_path, data, replace(usual, coordinator_id="other"), "another coordinator")
    check_refused(tmp_path, data, replace(usual, log_vkey=stranger.vkey), "neither trust root nor roster names")
    renamed = LogSigner("other.example", federation.keys.log.private_pem())
    check_refused(tmp_path, data, replace(usual, log_vkey=renamed.vkey), "neither trust root nor roster names")


def test_a_checkpoint_of_another_log_under_the_logs_own_key_is_refused_by_hand(
    tmp_path: Path, federation: Federation
) -> None:
    bundle = federation.bundle()
    text = bundle.proof.checkpoint.partition("\n\n")[0].replace(LOG_NAME, "other.example") + "\n"
    altered = replace(bundle.proof, checkpoint=sign_note(text, federation.keys.log))
    check_refused(tmp_path, replace(bundle, proof=altered).to_bytes(), federation.root, "of another log")


def test_a_part_of_another_federation_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    other = Federation.build(Keys.generate()).bundle()
    for name in (*STATEMENTS, "proof"):
        swapped: Any = {name: getattr(other, name)}
        check_refused(tmp_path, replace(federation.bundle(), **swapped).to_bytes(), federation.root)


def test_a_statement_in_the_place_of_another_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    bundle = federation.bundle()
    for name, other in zip(STATEMENTS, (*STATEMENTS[1:], STATEMENTS[0]), strict=True):
        swapped: Any = {name: getattr(bundle, other)}
        check_refused(tmp_path, replace(bundle, **swapped).to_bytes(), federation.root)


def test_a_contract_replayed_as_the_receipt_is_refused_by_hand(tmp_path: Path, federation: Federation) -> None:
    contract = sign_statement(federation.contract.value, federation.keys.coordinator)
    altered = replace(federation.bundle(), receipt=contract, proof=federation.proof(contract))
    check_refused(tmp_path, altered.to_bytes(), federation.root, "not a statement of the kind receipt")


def test_a_wrong_call_is_told_from_a_refusal(tmp_path: Path) -> None:
    require_tools(*TOOLS)
    script = str(DOCS / "verify-receipt.sh")
    for arguments, said in (([], "usage: "), (["none.json", "none.json"], "cannot read none.json")):
        ran = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
        assert said in ran.stderr
    without = subprocess.run(
        ["/bin/bash", script, "a", "b"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (without.returncode, without.stderr) == (2, "jq is not installed\n")


def test_a_receipt_that_parties_of_the_roster_cosigned_is_verified_by_hand(
    tmp_path: Path, federation: Federation
) -> None:
    witness, stranger = (LogSigner.generate(name, KeyType.COSIGNATURE) for name in ("alice", "alice"))
    alice, bob = federation.roster.value.parties
    roster = replace(federation.roster.value, parties=(replace(alice, witness=witness.vkey), bob))
    bundle = replace(federation.bundle(), roster=sign_statement(roster, federation.keys.coordinator))
    check_accepted(tmp_path, bundle.to_bytes(), federation.root)
    noted = cosign(bundle.proof.checkpoint, witness, NOON)
    check_accepted(tmp_path, replace(bundle, proof=replace(bundle.proof, checkpoint=noted)).to_bytes(), federation.root)
    for unknown in (stranger, witness):  # nobody's, or a second line by one key
        twice = replace(bundle, proof=replace(bundle.proof, checkpoint=cosign(noted, unknown, NOON)))
        check_refused(tmp_path, twice.to_bytes(), federation.root, "neither trust root nor roster names")


def test_a_receipt_of_a_party_that_has_replaced_its_key_is_verified_by_hand(
    tmp_path: Path, federation: Federation
) -> None:
    alice, bob = federation.roster.value.parties
    upcoming = PemSigner.generate().public_key
    rotated = replace(alice, statement_key=upcoming, former_keys=(alice.statement_key,))
    roster = replace(federation.roster.value, parties=(rotated, bob))
    bundle = replace(federation.bundle(), roster=sign_statement(roster, federation.keys.coordinator))
    check_accepted(tmp_path, bundle.to_bytes(), federation.root)
    forgotten = replace(roster, parties=(replace(rotated, former_keys=()), bob))
    signed = sign_statement(forgotten, federation.keys.coordinator)
    check_refused(tmp_path, replace(bundle, roster=signed).to_bytes(), federation.root, "did not sign it")
