"""Invites, applications, joining: how a data owner gets a place in the roster.

The identity comes from the token. What a request says about its own name is ignored (research/trust.md, section 4). A
token is used up at the first try; the owner that used it waits for the operator's word, and asks again with the same
token and the very same keys, which nobody else holds, until it is let in.
"""

import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import ApplicationRecord, InviteRecord, JoinFacts, PartyRecord, PartyStore
from severable_coordinator.ports import Clock
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError
from severable_trust.note_key import KeyType, LogKey
from severable_trust.roster import PartyStatus

INVITE_TERM = timedelta(hours=24)
PICKUP_TERM = timedelta(days=7)  # after approval, for the owner to fetch its certificate
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
        """Let the node with this OpenSSH public key connect; twice is as good as once. EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What an owner gets that is let in."""

    party: str
    certificate: bytes
    roster: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What an owner gets that must wait for the operator."""

    party: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Invites parties and lets them join."""

    parties: PartyStore
    logbook: Logbook
    clock: Clock
    certify: Certifier
    register_node: NodeRegistry

    def invite(self, party: str, *, approved: bool = False) -> tuple[str, datetime]:
        """Make a one-time invite; returns its token (hex) and expiry. ConfigError, ConflictError.

        Args:
            party: the id that whoever brings the token will have.
            approved: let it in at once, without the operator's look at its keys.
        """
        if not _PARTY_ID.fullmatch(party):
            raise ConfigError(f"party name {party!r}: use 1 to 32 lower-case letters, digits and hyphens")
        try:
            self.parties.party(party)
        except NotFoundError:
            token = secrets.token_hex(_TOKEN_BYTES)
            expires = self.clock() + INVITE_TERM
            invite = InviteRecord(token_hash=_hash(token), party=party, expires=expires, approved=approved)
            self.parties.add_invite(invite)
            return token, expires
        raise ConflictError(f"party {party!r} has joined already; invite it under another name")

    def join(self, token: str, facts: JoinFacts) -> Joined | Waiting:
        """Use a token up and apply; or, with the same token and keys again, learn whether the operator has approved.

        A failed try burns the token: ask for a new invite.

        Raises:
            RefusedError: the token, the request or a key cannot be used.
            ConflictError: one of the keys is somebody's already.
        """
        for application in self.parties.applications():
            if application.token_hash == _hash(token):
                return self._again(application, facts)
        invite = self.parties.take_invite(_hash(token))
        now = self.clock()
        if now >= invite.expires:
            raise RefusedError(f"this invite expired at {invite.expires:%Y-%m-%d %H:%M} UTC; ask for a new one")
        _check(facts, invite.party)
        self._require_new_keys(facts, invite.party)
        self.certify(facts.request_pem, invite.party, now)  # a request that cannot be used is refused now, not later
        application = ApplicationRecord(party=invite.party, token_hash=invite.token_hash, facts=facts, received=now)
        self.parties.put_application(application)
        if not invite.approved:
            return Waiting(party=invite.party)
        self.approve(invite.party)
        return self.join(token, facts)

    def _again(self, application: ApplicationRecord, facts: JoinFacts) -> Joined | Waiting:
        if application.facts != facts:
            raise RefusedError("this invite was used already, with other keys; ask the coordinator for a new one")
        if application.approved is None:
            return Waiting(party=application.party)
        if self.clock() >= application.approved + PICKUP_TERM:
            raise RefusedError("this invite was used already and not picked up in time; ask the coordinator for help")
        roster = self.logbook.roster()
        roster.value.party(application.party)
        return Joined(party=application.party, certificate=application.certificate, roster=roster.envelope)

    def application(self, party: str) -> ApplicationRecord:
        """What a party that waits to join, or has just been let in, sent. NotFoundError."""
        for application in self.parties.applications():
            if application.party == party:
                return application
        raise NotFoundError(f"nobody waits to join as {party!r}; `party list` shows who does")

    def approve(self, party: str) -> Envelope:
        """Let a waiting party in; returns the roster that names it. Interrupted, it is finished by another try.

        Raises:
            NotFoundError: nobody waits under that name.
            ConflictError: it was let in before, or one of its keys is somebody's by now.
            EngineError: Flower does not take its node.
        """
        application = self.application(party)
        facts, now = application.facts, self.clock()
        if application.approved is not None:
            if any(entry.id == party for entry in self.logbook.roster().value.parties):
                raise ConflictError(f"{party} was let in at {application.approved:%Y-%m-%d %H:%M} UTC already")
            return self.logbook.issue_roster()
        self.register_node(facts.node_key, party)
        self.parties.admit(
            replace(application, certificate=self.certify(facts.request_pem, party, now), approved=now),
            PartyRecord(
                id=party,
                legal_name=facts.legal_name,
                statement_key=facts.statement_key,
                node_key=facts.node_key,
                status=PartyStatus.ACTIVE,
                witness=facts.witness,
            ),
        )
        return self.logbook.issue_roster()

    def decline(self, party: str) -> None:
        """Turn a waiting party away; its token is used up. NotFoundError; ConflictError when it was let in."""
        if self.application(party).approved is not None:
            raise ConflictError(f"{party} was let in already; use `party revoke`")
        self.parties.drop_application(party)

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

    def _require_new_keys(self, facts: JoinFacts, party: str) -> None:
        waiting = [a.facts for a in self.parties.applications() if a.party != party]
        statement = {key for known in self.parties.parties() for key in known.keys} | {a.statement_key for a in waiting}
        nodes = {_bare(known.node_key) for known in self.parties.parties()} | {_bare(a.node_key) for a in waiting}
        if facts.statement_key in statement or _bare(facts.node_key) in nodes:
            raise ConflictError(f"party {party}: one of its keys is in the roster already, or waits to be")


def _check(facts: JoinFacts, party: str) -> None:
    if not _NODE_KEY.fullmatch(facts.node_key):
        raise RefusedError("the node key is not one line of an ECDSA P-384 key in OpenSSH form; run `join` again")
    if not 1 <= len(facts.legal_name) <= _MAX_NAME or not facts.legal_name.isprintable():
        raise RefusedError(f"the legal name must be 1 to {_MAX_NAME} printable characters")
    if facts.witness:
        try:
            key = LogKey.parse(facts.witness)
        except MalformedError as error:
            raise RefusedError(f"the witness key cannot be read ({error}); run `join` again") from error
        if key.type is not KeyType.COSIGNATURE or key.name != party:
            raise RefusedError(f"the witness key is not a cosignature key named {party!r}; run `join` again")


def _bare(node_key: str) -> tuple[str, ...]:
    return tuple(node_key.split()[:2])  # the rest of an OpenSSH line is a comment


def _hash(token: str) -> str:
    return Digest.of(token.encode()).hex
