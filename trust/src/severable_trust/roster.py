"""The roster: which key belongs to which party, as the coordinator signs it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.instant import check_instant, format_instant
from severable_trust.keys import PublicKey
from severable_trust.note_key import KeyType, LogKey
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_text, require_unique


class PartyStatus(StrEnum):
    """Whether a party's keys are still to be accepted."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterParty:
    """One party's entry.

    Attributes:
        id: the party's id.
        legal_name: its name.
        statement_key: the key it signs statements with.
        node_key: public key of its Flower node, OpenSSH text; empty until the node is known.
        status: `active` or `revoked`.
        former_keys: statement keys that it rotated away from; what they signed before stays its own.
        witness: note key (type 0x04, named like the party) with which it cosigns the log's checkpoints, or empty.

    Raises:
        StatementError: a field outside its range.
    """

    id: str
    legal_name: str
    statement_key: PublicKey
    node_key: str
    status: PartyStatus
    former_keys: tuple[PublicKey, ...] = ()
    witness: str = ""

    def __post_init__(self) -> None:
        check_id(self.id, "roster: party id")
        self._check_witness()
        require_text(self.legal_name, f"roster: legal_name of {self.id}")
        if self.status not in set(PartyStatus):
            raise StatementError(f"roster: status {self.status!r} of {self.id} is none of {', '.join(PartyStatus)}")
        object.__setattr__(self, "status", PartyStatus(self.status))

    def _check_witness(self) -> None:
        if not self.witness:
            return
        try:
            key = LogKey.parse(self.witness)
        except MalformedError as error:
            raise StatementError(f"roster: witness key of {self.id}: {error}") from error
        if key.type is not KeyType.COSIGNATURE or key.name != self.id:
            raise StatementError(f"roster: witness key of {self.id} is not a cosignature key of that name")

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The statement key and those before it: whose signatures under earlier statements are this party's."""
        return (self.statement_key, *self.former_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Record):
    """All parties of a federation and the coordinator's own key.

    Attributes:
        version: 1 or more, one higher at every change.
        expires: first second at which it no longer counts (UTC).
        coordinator_id: the coordinator's id.
        coordinator_key: the key the coordinator signs statements with.
        parties: the entries; kept sorted by id; no id and no key twice.

    Raises:
        StatementError: an id or a key occurs twice, or a field is outside its range.
        MalformedError: `expires` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.ROSTER

    version: int
    expires: datetime
    coordinator_id: str
    coordinator_key: PublicKey
    parties: tuple[RosterParty, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parties", tuple(sorted(self.parties, key=lambda party: party.id)))
        check_id(self.coordinator_id, "roster: coordinator_id")
        check_instant(self.expires)
        if self.version < 1:
            raise StatementError(f"roster: version is {self.version}, must be at least 1")
        require_unique((self.coordinator_id, *(party.id for party in self.parties)), "roster: ids")
        # One key under two ids would let one holder speak as two parties.
        keys = (self.coordinator_key, *(key for party in self.parties for key in party.keys))
        require_unique(keys, "roster: statement keys")
        witnesses = tuple(LogKey.parse(vkey).public for vkey in self.witnesses)
        require_unique(witnesses, "roster: witness keys")
        # An OpenSSH key is "type base64 comment": the comment is free text and no part of the key.
        nodes = tuple(tuple(party.node_key.split()[:2]) for party in self.parties if party.node_key)
        require_unique(nodes, "roster: node keys")

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Note keys of every party that has one, active or revoked: what one cosigned before stays cosigned."""
        return tuple(party.witness for party in self.parties if party.witness)

    def find(self, party_id: str) -> RosterParty:
        """The entry of a party, active or revoked.

        Raises:
            StatementError: no such party.
        """
        for party in self.parties:
            if party.id == party_id:
                return party
        raise StatementError(f"roster: no party {party_id[:80]!r} in version {self.version}")

    def party(self, party_id: str) -> RosterParty:
        """The entry of a party whose keys are to be accepted.

        Raises:
            StatementError: no such party, or it is revoked.
        """
        found = self.find(party_id)
        if found.status is not PartyStatus.ACTIVE:
            raise StatementError(f"roster: party {party_id} is revoked")
        return found

    def require_current(self, at: datetime) -> None:
        """Refuse a roster that has expired at this time (UTC).

        Raises:
            StatementError: it has.
        """
        if at >= self.expires:
            raise StatementError(f"roster: version {self.version} expired at {format_instant(self.expires)}")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The statement keys, each under its holder's id; the coordinator's first."""
        entries = ((party.id, Digest(party.statement_key.key_id)) for party in self.parties)
        return ((self.coordinator_id, Digest(self.coordinator_key.key_id)), *entries)
