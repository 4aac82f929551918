"""The TLS certificate's renewal: over the wire while it is valid, by hand (request, answer) when it no longer is.

The key stays, only the certificate is replaced, in one rename: no crash leaves a key without its certificate.
"""

from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.keys import certificate_request, certificate_term
from severable_client.errors import AnswerError, HomeError
from severable_client.home import Layout


class Renewer(Protocol):
    """The one call of the exchange that renewing needs."""

    def renew_certificate(self, request_pem: bytes) -> bytes:
        """Exchange the present TLS certificate for a fresh one over the request's key. ExchangeError."""
        ...


def due(layout: Layout, at: datetime) -> bool:
    """Whether a third of the certificate's term is over at this time (UTC), or all of it.

    Raises:
        HomeError: the certificate cannot be read.
    """
    begins, ends = certificate_term(layout)
    return at >= begins + (ends - begins) / 3


def renew(layout: Layout, party: str, renewer: Renewer) -> datetime:
    """Fetch and install a fresh certificate; returns the last moment of its validity (UTC).

    Raises:
        ExchangeError: the coordinator cannot be reached, refuses, or its answer is not a certificate for this key.
        StorageError: the disk.
    """
    return install(layout, renewer.renew_certificate(certificate_request(layout, party)))


def install(layout: Layout, pem: bytes) -> datetime:
    """Replace the certificate by another one over the same key; returns the last moment of its validity (UTC).

    Raises:
        AnswerError: not a certificate, not over this home's key, or not from the authority of this home.
        HomeError: this home's own key or authority cannot be read.
        StorageError: the disk.
    """
    try:
        fresh = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise AnswerError("what came as the new certificate is not one; the old one stays") from error
    with storage("the TLS key or the authority cannot be read"):
        key_pem, authority_pem = layout.tls_key.read_bytes(), layout.authority.read_bytes()
    try:
        authority = x509.load_pem_x509_certificate(authority_pem)
        key = load_pem_private_key(key_pem, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise HomeError(f"{layout.tls_key} or {layout.authority} is damaged: {error}; restore it") from error
    if fresh.public_key() != key:
        raise AnswerError("the new certificate is for another key than this home's; the old one stays")
    try:
        fresh.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise AnswerError(
            "the new certificate is not from the authority this home joined; the old one stays"
        ) from error
    write_whole(layout.tls_certificate, pem)
    return fresh.not_valid_after_utc
