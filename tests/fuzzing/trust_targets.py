"""The parsers of the trust package."""

import io
import json
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fuzzing.law import Target
from trust.log_samples import WholeLog
from trust.recalls import recall_bundle
from trust.samples import NOON, Federation
from trust.shard_data import shard_files
from vectors import make

from severable_trust.bundle import ReceiptBundle
from severable_trust.canonical import decode, encode
from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.composite import CompositeManifest
from severable_trust.contract import Contract
from severable_trust.denial import Denial
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope, Signature
from severable_trust.errors import MalformedError, TrustError
from severable_trust.keys import PublicKey
from severable_trust.log_bundle import LogBundle
from severable_trust.note import KeyType, LogKey, cosign, open_checkpoint
from severable_trust.order import RemovalOrder
from severable_trust.recall import Recall, RecallAnswer
from severable_trust.recall_bundle import RecallBundle
from severable_trust.removal import Acknowledgement, ErasureRequest, Receipt
from severable_trust.roster import Roster
from severable_trust.rotation import KeyRotation
from severable_trust.shard import ShardClaim
from severable_trust.statement import PAYLOAD_TYPE, Predicate, read_unverified, sign_statement
from severable_trust.tensors import TensorInfo, read_header
from severable_trust.trust_root import TrustRoot

KINDS: tuple[type[Predicate], ...] = (
    Contract,
    Roster,
    ShardClaim,
    CompositeManifest,
    ErasureRequest,
    Acknowledgement,
    Receipt,
    KeyRotation,
    Recall,
    RecallAnswer,
    RemovalOrder,
    Denial,
)
NOBODY = Signature("0" * 64, b"unverified")


@cache
def federation() -> Federation:
    return make.federation()


@cache
def _whole_log() -> WholeLog:
    witness = make.fixed_log_signer("alice", 8, KeyType.COSIGNATURE)
    return WholeLog.build(federation(), make.FixedSigner(1004), witness)


@cache
def payloads() -> dict[str, bytes]:
    return {vector["kind"]: vector["payload"].encode() for vector in make.statements(federation())}


def _statement(kind: type[Predicate]) -> Target:
    def read(data: bytes) -> Predicate:
        return read_unverified(Envelope(data, PAYLOAD_TYPE, (NOBODY,)), kind)

    def write(value: Predicate) -> bytes:
        return sign_statement(value, federation().keys.bob).payload

    name = f"statement-{kind.KIND}"
    return Target(name=name, read=read, errors=(TrustError,), seeds=lambda: (payloads()[kind.KIND],), write=write)


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text as one of bytes: what is no UTF-8 never reaches it as text."""

    def read_bytes(data: bytes) -> object:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise MalformedError("not UTF-8") from error
        return read(text)

    return read_bytes


def _note(text: str) -> object:
    witness = make.fixed_log_signer("witness.example", 8, KeyType.COSIGNATURE)
    return open_checkpoint(text, federation().root.log_vkey, [witness.vkey])


def _notes() -> tuple[bytes, ...]:
    witness = make.fixed_log_signer("witness.example", 8, KeyType.COSIGNATURE)
    note = federation().proof().checkpoint
    return (note.encode(), cosign(note, witness, NOON).encode())


def _header(data: bytes) -> dict[str, TensorInfo]:
    """A safetensors file; bytes that begin as JSON are taken for a header without its length and data."""
    whole = len(data).to_bytes(8, "little") + data if data[:1] == b"{" else data
    return read_header(io.BytesIO(whole), len(whole))


def _weights() -> tuple[bytes, ...]:
    data = shard_files()["model.safetensors"]
    empty = {"a": {"data_offsets": [0, 0], "dtype": "F32", "shape": [0]}}
    return (data, json.dumps(empty).encode())


def _key(data: bytes) -> PublicKey:
    """PEM; other bytes are taken for its DER."""
    return PublicKey.from_pem(data) if data[:5] == b"-----" else PublicKey(data)


def _keys() -> tuple[bytes, ...]:
    key = federation().keys.bob.public_key
    other = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  # another algorithm, not for use
    return (key.pem.encode(), key.spki_der, other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


TARGETS: tuple[Target, ...] = (
    Target(
        name="canonical-json",
        read=lambda data: decode(data, "value"),
        errors=(TrustError,),
        seeds=lambda: (b'{"a":[1,-1.5,1e-7,"\xc3\xa9",null,true]}', *payloads().values()),
        write=encode,
    ),
    Target(
        name="envelope",
        read=Envelope.parse,
        errors=(TrustError,),
        seeds=lambda: tuple(getattr(federation(), name).envelope.to_bytes() for name in ("contract", "roster")),
        write=lambda value: value.to_bytes(),
    ),
    *map(_statement, KINDS),
    Target(
        name="receipt-bundle",
        read=ReceiptBundle.parse,
        errors=(TrustError,),
        seeds=lambda: (federation().bundle().to_bytes(),),
        write=lambda value: value.to_bytes(),
    ),
    Target(
        name="recall-bundle",
        read=RecallBundle.parse,
        errors=(TrustError,),
        seeds=lambda: (recall_bundle(federation()).to_bytes(),),
        write=lambda value: value.to_bytes(),
    ),
    Target(
        name="log-bundle",
        read=LogBundle.parse,
        errors=(TrustError,),
        seeds=lambda: (_whole_log().bundle().to_bytes(),),
        write=lambda value: value.to_bytes(),
    ),
    Target(
        name="trust-root",
        read=TrustRoot.parse,
        errors=(TrustError,),
        seeds=lambda: (federation().root.to_bytes(),),
        write=lambda value: value.to_bytes(),
    ),
    Target(
        name="log-entry",
        read=LogEntry.parse,
        errors=(TrustError,),
        seeds=lambda: (LogEntry.of(federation().receipt).leaf,),
        write=lambda value: value.leaf,
    ),
    Target(
        name="log-proof",
        read=_text(LogProof.parse),
        errors=(TrustError,),
        seeds=lambda: (federation().proof().to_text().encode(),),
        write=lambda value: value.to_text().encode(),
    ),
    Target(
        name="checkpoint",
        read=_text(Checkpoint.parse),
        errors=(TrustError,),
        seeds=lambda: (federation().proof().checkpoint.partition("\n\n")[0].encode() + b"\n",),
        write=lambda value: value.text.encode(),
    ),
    Target(name="signed-note", read=_text(_note), errors=(TrustError,), seeds=_notes),
    Target(
        name="note-key",
        read=_text(LogKey.parse),
        errors=(TrustError,),
        seeds=lambda: (federation().root.log_vkey.encode(),),
        write=lambda value: str(value).encode(),
    ),
    Target(name="statement-key", read=_key, errors=(TrustError,), seeds=_keys),
    Target(name="safetensors-header", read=_header, errors=(TrustError,), seeds=_weights),
)
