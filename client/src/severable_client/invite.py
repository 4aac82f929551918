"""Invites: what a coordinator hands to a data owner, out of band, so that the owner can join.

An invite is ``severable-invite-v1.`` and the base64url of canonical JSON. It carries a one-time token, so it is a
secret; it is not signed, so the authority's fingerprint is shown and compared over another channel.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from severable_client.errors import InviteError
from severable_trust.canonical import decode
from severable_trust.errors import TrustError
from severable_trust.instant import parse_instant

PREFIX = "severable-invite-v1."
FORMAT = "severable-invite/v1"
ADVICE = "ask the coordinator for a new one and copy it whole"
MAX_CHARACTERS = 65536

_FIELDS = ("ca_pem", "coordinator", "expires", "format", "party", "token")
_PARTY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ADDRESS = re.compile(r"[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}")
_TOKEN = re.compile(r"[0-9a-f]{16,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """What an invite says.

    Attributes:
        party: the id under which the owner will be known.
        coordinator: host:port where to join (TLS).
        authority_pem: the coordinator's certificate authority, PEM.
        token: the one-time token, hex.
        expires: first second at which it no longer counts (UTC).
    """

    party: str
    coordinator: str
    authority_pem: bytes
    token: str
    expires: datetime

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate (DER), 64 hex digits."""
        return x509.load_pem_x509_certificate(self.authority_pem).fingerprint(hashes.SHA256()).hex()


def parse_invite(text: str) -> Invite:
    """Return what an invite's text says, its form checked and nothing else.

    Raises:
        InviteError: garbled; the message says where.
    """
    text = "".join(text.split())  # mail programs break long lines
    if not text.startswith(PREFIX) or len(text) > MAX_CHARACTERS:
        raise InviteError(f"the invite does not begin with {PREFIX!r}: {ADVICE}")
    coded = text.removeprefix(PREFIX)
    try:
        data = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
        fields = decode(data, "invite")
    except (binascii.Error, ValueError, TrustError) as error:
        raise InviteError(f"the invite is garbled ({error}): {ADVICE}") from error
    if (
        not isinstance(fields, dict)
        or sorted(fields) != list(_FIELDS)
        or not all(isinstance(v, str) for v in fields.values())
    ):
        raise InviteError(f"the invite does not have exactly the fields {', '.join(_FIELDS)}: {ADVICE}")
    return _checked(fields)


def _checked(fields: dict[str, str]) -> Invite:
    if fields["format"] != FORMAT:
        raise InviteError(f"the invite's format is {fields['format'][:40]!r}, this program reads {FORMAT!r}")
    for name, form in (("party", _PARTY), ("coordinator", _ADDRESS), ("token", _TOKEN)):
        if not form.fullmatch(fields[name]):
            raise InviteError(f"the invite's field {name!r} has the wrong form: {ADVICE}")
    try:
        expires = parse_instant(fields["expires"])
        x509.load_pem_x509_certificate(fields["ca_pem"].encode())
    except (ValueError, TrustError, x509.InvalidVersion) as error:
        raise InviteError(f"the invite's expiry or certificate cannot be read ({error}): {ADVICE}") from error
    return Invite(
        party=fields["party"],
        coordinator=fields["coordinator"],
        authority_pem=fields["ca_pem"].encode(),
        token=fields["token"],
        expires=expires,
    )


def require_usable(invite: Invite, now: datetime, fingerprint: str | None) -> None:
    """Refuse an invite that is out of date, or whose authority is not the one that was named out of band.

    Args:
        invite: a parsed invite.
        now: the time (UTC).
        fingerprint: what the coordinator told over another channel (colons and case do not matter), or None.

    Raises:
        InviteError: it is not usable.
    """
    if now >= invite.expires:
        raise InviteError(f"the invite expired at {invite.expires:%Y-%m-%d %H:%M:%S} UTC: {ADVICE}")
    if fingerprint is not None and _bare(fingerprint) != _bare(invite.fingerprint):
        raise InviteError(
            f"the invite's authority has the fingerprint {invite.fingerprint}, not the one given: do not join, ask"
        )


def _bare(fingerprint: str) -> str:
    return fingerprint.replace(":", "").strip().lower()
