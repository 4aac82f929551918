"""The coordinator's certificate authority (X.509, P-256) for its own servers and the parties' mutual TLS.

A party's certificate names the party that the invite named, whatever the request asked for (research/trust.md, 4).
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from severable_coordinator.errors import RefusedError

_CA_DAYS = 3650
_SERVER_DAYS = 90
_PARTY_DAYS = 14  # short: the owner's daemon renews it after a third of its term
_SKEW = dt.timedelta(minutes=5)  # a party's clock may lag this much behind ours


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    private_key: bytes


def new_authority(coordinator_id: str, now: dt.datetime) -> KeyPair:
    """A new self-signed CA that can sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{coordinator_id} Severable CA")
    builder = (
        _builder(name, key.public_key(), now, _CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_pem(builder.sign(key, hashes.SHA256())), _private_pem(key))


def issue_server(authority: KeyPair, host: str, now: dt.datetime) -> KeyPair:
    """A server certificate for `host`, localhost and the loopback addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(_server_certificate(authority, key.public_key(), host, now), _private_pem(key))


def renew_server(authority: KeyPair, server: KeyPair, host: str, now: dt.datetime) -> KeyPair:
    """The same server key with a fresh certificate: one file changes, no crash leaves a pair that does not fit."""
    key = serialization.load_pem_private_key(server.private_key, None).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("the server's key is not an EC key")
    return KeyPair(_server_certificate(authority, key, host, now), server.private_key)


def renewal_due(certificate_pem: bytes, now: dt.datetime) -> bool:
    """Whether a third of a certificate's term is over."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begins + (ends - begins) / 3


def _server_certificate(authority: KeyPair, key: ec.EllipticCurvePublicKey, host: str, now: dt.datetime) -> bytes:
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if (own := _general_name(host)) not in names:
        names.append(own)
    return _issue(
        authority, key, common_name=host, names=names, usage=ExtendedKeyUsageOID.SERVER_AUTH, now=now, days=_SERVER_DAYS
    )


def issue_party(authority: KeyPair, request_pem: bytes, party: str, now: dt.datetime) -> bytes:
    """A client certificate for `party` over the key of a certificate request. RefusedError when it is unusable."""
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        if not request.is_signature_valid:
            raise RefusedError("the certificate request is not signed by its own key; run `join` again")
    except (ValueError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise RefusedError("the certificate request cannot be read; run `join` again") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError("the certificate request's key is not P-256; run `join` again")
    names = [x509.DNSName(f"{party}.party.severable.internal")]
    return _issue(
        authority, key, common_name=party, names=names, usage=ExtendedKeyUsageOID.CLIENT_AUTH, now=now, days=_PARTY_DAYS
    )


def party_of(certificate_pem: bytes) -> str:
    """The party that a certificate of this authority names (its subject's common name)."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 over a certificate's DER, lower-case hex."""
    return x509.load_pem_x509_certificate(certificate_pem).fingerprint(hashes.SHA256()).hex()


def _issue(
    authority: KeyPair,
    key: ec.EllipticCurvePublicKey,
    *,
    common_name: str,
    names: list[x509.GeneralName] | list[x509.DNSName],
    usage: x509.ObjectIdentifier,
    now: dt.datetime,
    days: int,
) -> bytes:
    ca = x509.load_pem_x509_certificate(authority.certificate)
    ca_key = serialization.load_pem_private_key(authority.private_key, None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an EC key")
    builder = (
        _builder(_name(common_name), key, now, days)
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return _pem(builder.sign(ca_key, hashes.SHA256()))


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
