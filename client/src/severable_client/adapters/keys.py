"""The party's keys as files: made once at joining, read where they are needed, never readable by others.

Four keys, four uses: P-256 for statements, P-256 for the exchange's mutual TLS, Ed25519 for cosigning the log's
checkpoints, P-384 (OpenSSH) for the Flower node.
"""

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from severable_client.adapters.files import storage, write_whole
from severable_client.errors import HomeError
from severable_client.home import Layout
from severable_trust.errors import TrustError
from severable_trust.keys import PemSigner, PublicKey
from severable_trust.note_key import KeyType, LogSigner

PRIVATE = 0o600
_PEM_END = "-----END PUBLIC KEY-----"
FOLDER = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicHalves:
    """What of the keys may leave the machine.

    Attributes:
        statement_pem: the statement key, PEM.
        certificate_request_pem: a request for the TLS certificate, subject CN = party.
        node_line: the node's key, one OpenSSH line.
        witness_vkey: the key that cosigns the log's checkpoints, a note key named like the party.
    """

    statement_pem: str
    certificate_request_pem: bytes
    node_line: str
    witness_vkey: str


def make_keys(layout: Layout, party: str, statement: PublicKey | None = None) -> PublicHalves:
    """Make the key pairs in a new home and return their public halves.

    Args:
        layout: the home.
        party: the party's id.
        statement: public half of a statement key that a token or key service holds; None makes one here.

    Raises:
        StorageError: a file cannot be written.
    """
    tls = ec.generate_private_key(ec.SECP256R1())
    witness = LogSigner.generate(party, KeyType.COSIGNATURE)
    node = ec.generate_private_key(ec.SECP384R1())
    node_line = node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    tls_pem = tls.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    node_pem = node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    if statement is None:
        made = PemSigner.generate()
        write_whole(layout.statement_key, made.private_pem(), PRIVATE)
        statement = made.public_key
    write_whole(layout.statement_public, statement.pem.encode("ascii"))
    write_whole(layout.tls_key, tls_pem, PRIVATE)
    write_whole(layout.tls_request, _request(tls, party))
    write_whole(layout.witness_key, witness.private_pem(), PRIVATE)
    write_whole(layout.node_key, node_pem, PRIVATE)
    write_whole(layout.node_public, f"{node_line}\n".encode("ascii"))  # last: with it the keys are complete
    return read_halves(layout, party)


def read_halves(layout: Layout, party: str) -> PublicHalves:
    """Return the public halves of keys that `make_keys` made, the same bytes every time.

    Raises:
        HomeError: a key is not one.
        StorageError: a key cannot be read.
    """
    return PublicHalves(
        statement_pem=read_public(layout).pem,
        certificate_request_pem=_read(layout.tls_request),
        node_line=_read(layout.node_public).decode("ascii", "replace").strip(),
        witness_vkey=read_witness(layout, party).vkey,
    )


def read_witness(layout: Layout, party: str) -> LogSigner:
    """Return the signer of this party's cosignatures.

    Raises:
        HomeError: the key is not one.
        StorageError: the key cannot be read.
    """
    try:
        return LogSigner(party, _read(layout.witness_key), KeyType.COSIGNATURE)
    except TrustError as error:
        raise HomeError(f"{layout.witness_key}: {error}; restore it from a backup") from error


def certificate_request(layout: Layout, party: str) -> bytes:
    """Return a request (PEM) for a certificate over the present TLS key, subject CN = party.

    Raises:
        HomeError: the key is not one.
        StorageError: the key cannot be read.
    """
    try:
        key = load_pem_private_key(_read(layout.tls_key), password=None)
    except (ValueError, TypeError) as error:
        raise HomeError(f"{layout.tls_key} cannot be read: {error}; restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise HomeError(f"{layout.tls_key} is not a P-256 key; restore it from a backup")
    return _request(key, party)


def read_signer(layout: Layout) -> PemSigner:
    """Return the signer of this party's statements.

    Raises:
        HomeError: the key is missing, or not one.
    """
    try:
        return PemSigner(_read(layout.statement_key))
    except TrustError as error:
        raise HomeError(f"{layout.statement_key}: {error}; restore it from a backup or join again") from error


def read_public(layout: Layout) -> PublicKey:
    """Return the public half of the statement key.

    Raises:
        HomeError: the file is missing, or not a key.
    """
    try:
        return PublicKey.from_pem(_read(layout.statement_public))
    except TrustError as error:
        raise HomeError(f"{layout.statement_public}: {error}; restore it from a backup or join again") from error


def read_former(layout: Layout) -> tuple[PublicKey, ...]:
    """Return the public halves of the statement keys before the present one, newest first.

    Raises:
        HomeError: the file does not hold keys.
    """
    if not layout.statement_former.is_file():
        return ()
    blocks = _read(layout.statement_former).decode("ascii", "replace").split(_PEM_END)
    try:
        return tuple(PublicKey.from_pem(block.strip() + "\n" + _PEM_END + "\n") for block in blocks if block.strip())
    except TrustError as error:
        raise HomeError(f"{layout.statement_former}: {error}; restore it from a backup") from error


def certificate_term(layout: Layout) -> tuple[datetime, datetime]:
    """Return the first and the last moment of the TLS certificate's validity (UTC).

    Raises:
        HomeError: the certificate is missing or cannot be read, or it is not that of the TLS key.
    """
    try:
        certificate = x509.load_pem_x509_certificate(_read(layout.tls_certificate))
        key = load_pem_private_key(_read(layout.tls_key), password=None)
    except (ValueError, TypeError) as error:
        raise HomeError(f"{layout.tls_certificate} or its key cannot be read: {error}; join again") from error
    if key.public_key() != certificate.public_key():
        raise HomeError(f"{layout.tls_certificate} is not the certificate of {layout.tls_key.name}; join again")
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def loose_permissions(layout: Layout) -> tuple[Path, ...]:
    """Return the key files (and their folder) that others than the owner could read, or that are missing.

    A statement key may be held elsewhere: its file is only looked at where it is there.
    """
    private = [layout.keys, layout.tls_key, layout.witness_key, layout.node_key]
    private += [path for path in (layout.statement_key, layout.statement_pin, layout.data_salt) if path.exists()]
    return tuple(path for path in private if not path.exists() or stat.S_IMODE(path.stat().st_mode) & 0o077)


def _request(key: ec.EllipticCurvePrivateKey, party: str) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def _read(path: Path) -> bytes:
    with storage(f"{path} cannot be read"):
        return path.read_bytes()
