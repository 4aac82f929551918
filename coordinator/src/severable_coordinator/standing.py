"""What changes for a party that has joined: a new statement key, a cosignature of the log, an end to its trust."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from severable_coordinator.errors import ConflictError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import PartyStore
from severable_trust.checkpoint import Checkpoint
from severable_trust.envelope import Envelope
from severable_trust.note import cosignature_line, open_note
from severable_trust.roster import PartyStatus
from severable_trust.rotation import KeyRotation, open_rotation
from severable_trust.statement import Kind, read_unverified


class NodeRemoval(Protocol):
    """Makes a Flower node key unknown to the engine; see adapters/engine.py."""

    def __call__(self, node_key: str) -> None:
        """Shut the node with this OpenSSH public key out; one that is not known is left so. EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Keeps parties' keys and their trust up to date."""

    parties: PartyStore
    logbook: Logbook
    unregister_node: NodeRemoval
    suspend: Callable[[str], int] = lambda _party: 0  # puts the contracts of a revoked party on hold

    def rotate(self, party: str, envelope: Envelope) -> Envelope:
        """Take a party's new statement key, log the rotation and return the roster that names it.

        The same rotation again returns the newest roster.

        Raises:
            TrustError: not signed by both keys, or not from the roster's key to an unused one.
        """
        known = self.parties.party(party)
        if read_unverified(envelope, KeyRotation).next != known.statement_key:
            proven = open_rotation(envelope, party, self.logbook.roster().value)
            self.logbook.record(Kind.KEY_ROTATION, envelope)
            self.parties.put_party(known.rotated(proven.value.next))
        roster = self.logbook.roster()
        if roster.value.party(party).statement_key == self.parties.party(party).statement_key:
            return roster.envelope
        return self.logbook.issue_roster()

    def cosign(self, party: str, note: str) -> None:
        """Keep a party's cosignature under one of the log's own checkpoints.

        Args:
            party: whom the connection's certificate names.
            note: the checkpoint that it was shown, with its own line added.

        Raises:
            RefusedError: the party has no witness key.
            NotFoundError: the log never signed a checkpoint of that size.
            TrustError: the note is not the log's, or the cosignature does not hold.
        """
        vkey = self.logbook.roster().value.party(party).witness
        if not vkey:
            raise RefusedError(f"party {party} has no witness key in the roster")
        opened = open_note(note, [self.logbook.trust_root.log_vkey, vkey])
        if vkey not in opened.signers:
            raise RefusedError(f"the checkpoint does not carry a cosignature by {party}")
        size = Checkpoint.parse(opened.text).size
        if self.logbook.log.checkpoint_of(size).partition("\n\n")[0] + "\n" != opened.text:
            raise RefusedError(f"the cosigned checkpoint is not the one that this log has over {size} entries")
        self.logbook.log.cosign(size, party, cosignature_line(note, vkey))

    def revoke(self, party: str) -> Envelope:
        """Refuse a party's keys and certificates from now on; returns the roster that says so. For good.

        Its contracts are put on hold; whether its shards go, the operator decides.

        Calls over certificates that were issued before are refused too: every call is held against the newest roster.

        Raises:
            NotFoundError: no such party.
            ConflictError: it is revoked already.
            EngineError: Flower does not answer; the roster is issued all the same, and `up` shuts the node out.
        """
        known = self.parties.party(party)
        if known.status == PartyStatus.REVOKED:
            raise ConflictError(f"party {party!r} is revoked already")
        self.parties.put_party(replace(known, status=PartyStatus.REVOKED))
        self.suspend(party)
        roster = self.logbook.issue_roster()
        self.unregister_node(known.node_key)
        return roster

    def finish_revocations(self) -> bool:
        """Issue the roster that says so, should a crash have come between a revocation and it; returns whether one had.

        Contracts of revoked parties are put on hold, too.
        """
        revoked = [party.id for party in self.parties.parties() if party.status == PartyStatus.REVOKED]
        for party in revoked:
            self.suspend(party)
        active = {entry.id for entry in self.logbook.roster().value.parties if entry.status is PartyStatus.ACTIVE}
        if active.isdisjoint(revoked):
            return False
        self.logbook.issue_roster()
        return True

    def shut_out_revoked(self) -> None:
        """Shut out the nodes of revoked parties, should Flower not have heard of a revocation. EngineError."""
        for party in self.parties.parties():
            if party.status == PartyStatus.REVOKED:
                self.unregister_node(party.node_key)
