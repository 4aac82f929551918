"""Makes the known-answer vectors beside it: `PYTHONPATH=tests python -P -m vectors.make` writes them.

Keys are fixed and public, and ECDSA is deterministic (RFC 6979), so the same bytes come out every time. The test
suite compares them with the files: a difference is a change of a format, which needs a new version, not new vectors.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from trust.log_samples import WholeLog
from trust.recalls import make_answer, make_recall, recall_bundle
from trust.samples import LOG_NAME, NOON, Federation, Keys, MemoryLog, at, make_order, ordered

from severable_trust.bundle import ReceiptBundle
from severable_trust.denial import Denial, DenialReason
from severable_trust.keys import PublicKey
from severable_trust.merkle import consistency_proof, inclusion_proof, root
from severable_trust.note import KeyType, LogSigner, cosign
from severable_trust.removal import Acknowledgement
from severable_trust.rotation import KeyRotation
from severable_trust.statement import sign_statement, statement_id

HERE = Path(__file__).parent


class FixedSigner:
    """A `Signer` over a small fixed number as private key, with RFC 6979 signatures."""

    def __init__(self, scalar: int) -> None:
        self._private = ec.derive_private_key(scalar, ec.SECP256R1())

    @property
    def public_key(self) -> PublicKey:
        return PublicKey(self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def fixed_log_signer(name: str, seed: int, key_type: KeyType = KeyType.ED25519) -> LogSigner:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return LogSigner(name, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), key_type)


def federation() -> Federation:
    log = fixed_log_signer(LOG_NAME, 7)
    return Federation.build(Keys(FixedSigner(1001), FixedSigner(1002), FixedSigner(1003), log))


def statements(made: Federation) -> list[dict[str, Any]]:
    """Every kind of statement: its predicate, the payload that is signed, its id, and an envelope."""
    acknowledgement = Acknowledgement(request=made.request.id, received=NOON, expected_completion=at(20))
    rotation = KeyRotation(
        party="alice", previous=made.keys.alice.public_key, next=FixedSigner(1004).public_key, issued=NOON
    )
    found = []
    recall = make_recall(made.request.id)
    answer = make_answer(statement_id(sign_statement(recall, made.keys.coordinator)))
    denial = Denial(
        request=made.request.id, publisher="hub", party="alice", reason_code=DenialReason.RETAINED_BY_LAW,
        reason="the court ordered the model kept as evidence", decided=at(14),
    )  # fmt: skip
    order = make_order(made.contract.id, made.claim.id)
    for value in (*made.statements(), acknowledgement, rotation, recall, answer, order, denial):
        envelope = sign_statement(value, made.keys.coordinator)
        found.append(
            {
                "kind": value.KIND.value,
                "predicate": value.to_predicate(),
                "payload": envelope.payload.decode(),
                "id": str(statement_id(envelope)),
                "envelope": envelope.to_object(),
            }
        )
    return found


def log() -> dict[str, Any]:
    """Trees of 0 to 9 leaves: the leaves, every root, every inclusion and consistency proof. All hexadecimal."""
    leaves = [b"leaf %d" % number for number in range(9)]
    store = MemoryLog()
    for leaf in leaves:
        store.append(leaf)
    sizes = range(1, len(leaves) + 1)
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "roots": [root(store, size).hex() for size in (0, *sizes)],
        "inclusion": [
            {"index": index, "size": size, "proof": [value.hex() for value in inclusion_proof(store, index, size)]}
            for size in sizes
            for index in range(size)
        ],
        "consistency": [
            {"old": old, "new": new, "proof": [value.hex() for value in consistency_proof(store, old, new)]}
            for new in sizes
            for old in range(1, new + 1)
        ],
    }


def refused(made: Federation) -> dict[str, dict[str, Any]]:
    """Bundles that must be refused: which error, and the file's text."""
    usual = made.bundle()
    stranger = fixed_log_signer("stranger", 9, KeyType.COSIGNATURE)
    unlogged = sign_statement(replace(made.receipt.value, outcome="partial"), made.keys.coordinator)
    as_receipt = sign_statement(made.contract.value, made.keys.coordinator)
    text = usual.to_bytes().decode()

    def changed(error: str, **parts: Any) -> dict[str, Any]:
        return {"error": error, "text": replace(usual, **parts).to_bytes().decode()}

    return {
        "contract in the place of the receipt": changed(
            "StatementError", receipt=as_receipt, proof=made.proof(as_receipt)
        ),
        "receipt that is not in the log": changed("LogError", receipt=unlogged),
        "request signed by another party": changed(
            "SignatureError", request=sign_statement(made.request.value, made.keys.bob)
        ),
        "contract signed by one side": changed(
            "SignatureError", contract=sign_statement(made.contract.value, made.keys.coordinator)
        ),
        "proof at another index": changed("LogError", proof=replace(usual.proof, index=1)),
        "checkpoint with a line of a stranger": changed(
            "SignatureError",
            proof=replace(usual.proof, checkpoint=cosign(usual.proof.checkpoint, stranger, NOON)),
        ),
        "white space": {"error": "MalformedError", "text": text.replace(":", ": ", 1)},
        "newline at the end": {"error": "MalformedError", "text": text + "\n"},
        "stray bits in base64": {"error": "MalformedError", "text": stray_bits(usual)},
    }


def stray_bits(bundle: ReceiptBundle) -> str:
    """The bundle with a base64 text that decodes to the same bytes and is not the canonical one."""
    text = bundle.to_bytes().decode()
    for envelope in (bundle.receipt, bundle.request, bundle.contract, bundle.roster):
        encoded = str(envelope.to_object()["payload"])
        if encoded.endswith("="):
            place = len(encoded.rstrip("=")) - 1
            return text.replace(encoded, encoded[:place] + chr(ord(encoded[place]) + 1) + encoded[place + 1 :])
    raise ValueError("no payload of this federation ends inside a base64 group")


def build() -> dict[str, bytes]:
    """Every vector file by name."""
    made = federation()
    readable = {"statements.json": statements(made), "log.json": log(), "receipts-refused.json": refused(made)}
    files = {name: (json.dumps(value, indent=1, sort_keys=True) + "\n").encode() for name, value in readable.items()}
    whole = WholeLog.build(made, FixedSigner(1004), fixed_log_signer("alice", 8, KeyType.COSIGNATURE))
    return {
        **files,
        "receipt-v1.json": made.bundle().to_bytes(),
        "recall-v1.json": recall_bundle(made).to_bytes(),
        "receipt-ordered-v1.json": ordered(made).to_bytes(),
        "log-bundle-v1.json": whole.bundle().to_bytes(),
        "trust-root-v1.json": made.root.to_bytes(),
    }


if __name__ == "__main__":
    for file_name, content in build().items():
        (HERE / file_name).write_bytes(content)
