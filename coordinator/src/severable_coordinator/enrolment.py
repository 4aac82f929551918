"""Invites and joining: how a data owner gets a place in the roster.

The identity comes from the token. What a request says about its own name is ignored (research/trust.md, section 4).
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import Clock, InviteRecord, PartyRecord, PartyStore
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.keys import PublicKey
from severable_trust.roster import PartyStatus

INVITE_TERM = timedelta(hours=24)
_PARTY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_NODE_KEY = re.compile(r"ecdsa-sha2-nistp384 [A-Za-z0-9+/=]{1,300}( [^\n]{0,100})?")
_TOKEN_BYTES = 32
_MAX_NAME = 120


class Certifier(Protocol):
    """Issues client certificates; see adapters/authority.py."""

    def __call__(self, request_pem: bytes, party: str, now: datetime) -> bytes:
        """A certificate for `party` over the request's key. RefusedError."""


class NodeRegistry(Protocol):
    """Makes a Flower node key known to the engine; see adapters/engine.py."""

    def __call__(self, node_key: str, party: str) -> None:
        """Let the node with this OpenSSH public key connect. EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFacts:
    """What an owner sends with its token."""

    request_pem: bytes
    statement_key: PublicKey
    node_key: str
    legal_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What an owner gets back."""

    party: str
    certificate: bytes
    roster: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Invites parties and lets them join."""

    parties: PartyStore
    logbook: Logbook
    clock: Clock
    certify: Certifier
    register_node: NodeRegistry

    def invite(self, party: str) -> tuple[str, datetime]:
        """Make a one-time invite; returns its token (hex) and expiry. ConfigError, ConflictError."""
        if not _PARTY_ID.fullmatch(party):
            raise ConfigError(f"party name {party!r}: use 1 to 32 lower-case letters, digits and hyphens")
        try:
            self.parties.party(party)
        except NotFoundError:
            token = secrets.token_hex(_TOKEN_BYTES)
            expires = self.clock() + INVITE_TERM
            self.parties.add_invite(InviteRecord(token_hash=_hash(token), party=party, expires=expires))
            return token, expires
        raise ConflictError(f"party {party!r} has joined already; invite it under another name")

    def join(self, token: str, facts: JoinFacts) -> Joined:
        """Use a token up and admit its party. A failed try burns the token: ask for a new invite. RefusedError."""
        invite = self.parties.take_invite(_hash(token))
        now = self.clock()
        if now >= invite.expires:
            raise RefusedError(f"this invite expired at {invite.expires:%Y-%m-%d %H:%M} UTC; ask for a new one")
        _check(facts)
        certificate = self.certify(facts.request_pem, invite.party, now)
        self.parties.add_party(
            PartyRecord(
                id=invite.party,
                legal_name=facts.legal_name,
                statement_key=facts.statement_key,
                node_key=facts.node_key,
                status="active",
            )
        )
        self.register_node(facts.node_key, invite.party)
        return Joined(party=invite.party, certificate=certificate, roster=self.logbook.issue_roster())

    def renew(self, party: str, request_pem: bytes) -> bytes:
        """A fresh certificate for a party whose present one has just been checked.

        Args:
            party: whom the present certificate names, never what the request says.
            request_pem: a certificate request, PEM; its key is used, its subject ignored.

        Raises:
            RefusedError: the request cannot be used.
            StatementError: the party is revoked, or not in the roster.
        """
        self.logbook.roster().value.party(party)
        return self.certify(request_pem, party, self.clock())

    def revoke(self, party: str) -> Envelope:
        """Refuse a party's keys and certificates from now on; returns the roster that says so. For good.

        Calls over certificates that were issued before are refused too: every call is held against the newest roster.

        Raises:
            NotFoundError: no such party.
            ConflictError: it is revoked already.
        """
        if self.parties.party(party).status == PartyStatus.REVOKED:
            raise ConflictError(f"party {party!r} is revoked already")
        self.parties.revoke_party(party)
        return self.logbook.issue_roster()


def _check(facts: JoinFacts) -> None:
    if not _NODE_KEY.fullmatch(facts.node_key):
        raise RefusedError("the node key is not one line of an ECDSA P-384 key in OpenSSH form; run `join` again")
    if not 1 <= len(facts.legal_name) <= _MAX_NAME or not facts.legal_name.isprintable():
        raise RefusedError(f"the legal name must be 1 to {_MAX_NAME} printable characters")


def _hash(token: str) -> str:
    return Digest.of(token.encode()).hex
