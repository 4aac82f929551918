"""Rotation of a statement key: the party says, under the old key and the new one, that the new one is its own from now.

Both signatures are asked for: the old one shows that it is the party who says so, the new one that the party holds it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.keys import PublicKey
from severable_trust.roster import Roster
from severable_trust.statement import Kind, Proven, Record, open_statement, read_unverified
from severable_trust.terms import check_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation(Record):
    """A party's change of its statement key.

    Attributes:
        party: the party's id.
        previous: the statement key until now.
        next: the statement key from now on.
        issued: when the party said so (UTC).

    Raises:
        StatementError: an id of the wrong form, or both keys are one.
        MalformedError: `issued` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.KEY_ROTATION

    party: str
    previous: PublicKey
    next: PublicKey
    issued: datetime

    def __post_init__(self) -> None:
        check_id(self.party, "key rotation: party")
        check_instant(self.issued)
        if self.previous == self.next:
            raise StatementError("key rotation: the next key is the previous one")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """Both keys, by their key ids."""
        return (("previous", Digest(self.previous.key_id)), ("next", Digest(self.next.key_id)))


def open_rotation(envelope: Envelope, party: str, roster: Roster) -> Proven[KeyRotation]:
    """The rotation in an envelope that this party signed with the key of the roster and with the next one.

    Raises:
        StatementError: of another party, from another key than the roster's, to a key that somebody has or had; or the
            party is revoked or unknown.
        SignatureError: one of the two signatures is missing or wrong.
    """
    current = roster.party(party).statement_key
    claimed = read_unverified(envelope, KeyRotation)
    proven = open_statement(envelope, KeyRotation, [current, claimed.next], threshold=2)
    if proven.value.party != party:
        raise StatementError(f"key rotation: is of party {proven.value.party}, not {party}")
    if proven.value.previous != current:
        raise StatementError(f"key rotation: is from key {proven.value.previous.key_id[:16]}, not the roster's")
    taken = {roster.coordinator_key, *(key for entry in roster.parties for key in entry.keys)}
    if proven.value.next in taken:
        raise StatementError(f"key rotation: key {proven.value.next.key_id[:16]} is or was somebody's already")
    return proven
