"""The party's keys as files: made once at joining, read where they are needed, never readable by others.

Three keys, three uses: P-256 for statements, P-256 for the exchange's mutual TLS, P-384 (OpenSSH) for the Flower node.
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

PRIVATE = 0o600
FOLDER = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicHalves:
    """What of the keys may leave the machine.

    Attributes:
        statement_pem: the statement key, PEM.
        certificate_request_pem: a request for the TLS certificate, subject CN = party.
        node_line: the node's key, one OpenSSH line.
    """

    statement_pem: str
    certificate_request_pem: bytes
    node_line: str


def make_keys(layout: Layout, party: str) -> PublicHalves:
    """Make the three key pairs in a new home and return their public halves.

    Raises:
        StorageError: a file cannot be written.
    """
    statement, tls = PemSigner.generate(), ec.generate_private_key(ec.SECP256R1())
    node = ec.generate_private_key(ec.SECP384R1())
    node_line = node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    tls_pem = tls.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    node_pem = node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    write_whole(layout.statement_key, statement.private_pem(), PRIVATE)
    write_whole(layout.statement_public, statement.public_key.pem.encode("ascii"))
    write_whole(layout.tls_key, tls_pem, PRIVATE)
    write_whole(layout.node_key, node_pem, PRIVATE)
    write_whole(layout.node_public, f"{node_line}\n".encode("ascii"))
    return PublicHalves(
        statement_pem=statement.public_key.pem,
        certificate_request_pem=_request(tls, party),
        node_line=node_line,
    )


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
    """Return the key files (and their folder) that others than the owner could read, or that are missing."""
    private = [layout.keys, layout.statement_key, layout.tls_key, layout.node_key]
    return tuple(path for path in private if not path.exists() or stat.S_IMODE(path.stat().st_mode) & 0o077)


def _request(key: ec.EllipticCurvePrivateKey, party: str) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def _read(path: Path) -> bytes:
    with storage(f"{path} cannot be read"):
        return path.read_bytes()
