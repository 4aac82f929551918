"""Who belongs to the federation, on its way in or for good: records and the store that holds them.

Records are frozen; times are UTC. The store's contract suite is in tests/coordinator.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from severable_trust.keys import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRecord:
    """A data owner as the roster names it."""

    id: str
    legal_name: str
    statement_key: PublicKey
    node_key: str  # OpenSSH public key line
    status: str  # "active" or "revoked"
    former_keys: tuple[PublicKey, ...] = ()
    witness: str = ""  # note key with which it cosigns checkpoints

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The statement key and those before it."""
        return (self.statement_key, *self.former_keys)

    def rotated(self, key: PublicKey) -> "PartyRecord":
        """The same party with a new statement key."""
        return replace(self, statement_key=key, former_keys=self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteRecord:
    """A one-time place in the roster; only the token's hash is kept."""

    token_hash: str
    party: str
    expires: datetime
    approved: bool = False  # whoever brings the token is let in without another look


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFacts:
    """What an owner sends with its token."""

    request_pem: bytes
    statement_key: PublicKey
    node_key: str
    legal_name: str
    witness: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRecord:
    """An owner that has used its invite: waiting for the operator's word, or let in (then it has a certificate)."""

    party: str
    token_hash: str
    facts: JoinFacts
    received: datetime
    certificate: bytes = b""
    approved: datetime | None = None


class PartyStore(Protocol):
    """Parties, invites, and applications between the two."""

    def add_invite(self, invite: InviteRecord) -> None:
        """Remember an invite; an earlier open one for the same party is replaced."""

    def take_invite(self, token_hash: str) -> InviteRecord:
        """Use an invite up and return it, expired or not. RefusedError when there is none: a token works once."""

    def drop_invite(self, party_id: str) -> None:
        """Forget an open invite for a party, and its application; without one nothing happens."""

    def put_application(self, application: ApplicationRecord) -> None:
        """Keep an application, in the place of an earlier one for the same party."""

    def applications(self) -> list[ApplicationRecord]:
        """Every application, by party."""

    def drop_application(self, party_id: str) -> None:
        """Forget an application. NotFoundError."""

    def admit(self, application: ApplicationRecord, party: PartyRecord) -> None:
        """Keep an approved application and its party, both or neither.

        ConflictError when the id or a key is in the roster already.
        """

    def add_party(self, party: PartyRecord) -> None:
        """Add a party. ConflictError when the id or a key is already in the roster."""

    def put_party(self, party: PartyRecord) -> None:
        """Replace what is known of a party: its status, its keys. NotFoundError, ConflictError."""

    def party(self, party_id: str) -> PartyRecord:
        """Return a party. NotFoundError."""

    def parties(self) -> list[PartyRecord]:
        """Every party, by id."""

    def add_peer(self, peer_id: str, key: PublicKey) -> None:
        """Accept contracts that another coordinator signed, for shards imported from it."""

    def peer_keys(self) -> list[PublicKey]:
        """Statement keys of such coordinators."""
