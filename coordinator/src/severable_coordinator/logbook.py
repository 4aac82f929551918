"""Signing statements in the coordinator's name and putting them into the log: the one way in for every use case."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from severable_coordinator.errors import StorageError
from severable_coordinator.log_port import Log
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import Clock
from severable_trust.checkpoint import LogProof
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope
from severable_trust.keys import PublicKey, Signer
from severable_trust.roster import PartyStatus, Roster, RosterParty
from severable_trust.statement import Kind, Predicate, Proven, open_statement, sign_statement, statement_id
from severable_trust.trust_root import TrustRoot

_ROSTER_TERM = timedelta(days=365)
_ROSTER_RENEWAL = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logbook:
    """The coordinator's identity with its log."""

    coordinator: str
    signer: Signer
    log: Log
    parties: PartyStore
    clock: Clock
    trust_root: TrustRoot
    turn: Callable[[], AbstractContextManager[None]]  # one roster at a time, over every process of the coordinator

    @property
    def key(self) -> PublicKey:
        """The coordinator's statement key."""
        return self.signer.public_key

    def issue(self, value: Predicate) -> Envelope:
        """Sign a statement as the coordinator and log it."""
        envelope = sign_statement(value, self.signer)
        self.record(value.KIND, envelope)
        return envelope

    def record(self, kind: Kind, *envelopes: Envelope) -> None:
        """Log verified statements of one kind in one batch; what is in the log already stays as it is."""
        self.log.append([(entry_of(kind, envelope), envelope.to_bytes()) for envelope in envelopes])

    def prove(self, kind: Kind, envelope: Envelope) -> LogProof:
        """The proof that a logged statement is in the log."""
        return self.log.prove(entry_of(kind, envelope))

    def issue_roster(self) -> Envelope:
        """Sign and log the roster as it is now; its version is one more than that of the last one."""
        with self.turn():
            return self._issue_roster(len(self.log.statements(Kind.ROSTER)) + 1)

    def _issue_roster(self, version: int) -> Envelope:
        parties = tuple(
            RosterParty(
                id=party.id,
                legal_name=party.legal_name,
                statement_key=party.statement_key,
                node_key=party.node_key,
                status=PartyStatus(party.status),
                former_keys=party.former_keys,
                witness=party.witness,
            )
            for party in self.parties.parties()
        )
        return self.issue(
            Roster(
                version=version,
                expires=self.clock() + _ROSTER_TERM,
                coordinator_id=self.coordinator,
                coordinator_key=self.key,
                parties=parties,
            )
        )

    def keep_roster_current(self) -> None:
        """Issue the roster anew when there is none yet, or its term is nearly over."""
        if not self.log.statements(Kind.ROSTER) or self.roster().value.expires - self.clock() < _ROSTER_RENEWAL:
            self.issue_roster()

    def roster(self) -> Proven[Roster]:
        """The newest roster, verified. StorageError: another one, perhaps an older one, was put in its place."""
        newest = self.log.statements(Kind.ROSTER)[-1]
        proven = open_statement(self.log.body(newest), Roster, [self.key])
        if proven.id != newest:
            raise StorageError(f"the body kept for roster {newest} is not the one logged; restore the database")
        return proven


def entry_of(kind: Kind, envelope: Envelope) -> LogEntry:
    """The log entry of a statement: its digest and who signed it, nothing that could need erasing."""
    signers = tuple(signature.key_id for signature in envelope.signatures)
    return LogEntry(kind=kind, statement=statement_id(envelope), signers=signers)
