"""Issuing recalls, handing them out, taking answers."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from severable_coordinator.contracting import Contracting
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import Clock, CompositeStore
from severable_coordinator.recalls import Export, RecallRecord, RecallStore, Recipient, Standing, copies
from severable_trust.contract import Contract
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.keys import PublicKey
from severable_trust.recall import Answer, Artifact, Recall, RecallAnswer
from severable_trust.recall_bundle import RecallBundle, open_answer, require_answer_to
from severable_trust.statement import Kind, Proven, open_statement, read_unverified, sign_statement, statement_id

_LEAST_DAYS = 1  # to answer, where the contract's own deadline is shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalling:
    """Recalls copies and takes answers."""

    store: RecallStore
    contracting: Contracting
    parties: PartyStore
    composites: CompositeStore
    logbook: Logbook
    clock: Clock

    def issue(self, removal: Digest, contract: Digest, subjects: Iterable[Digest]) -> list[RecallRecord]:
        """Recall every recorded copy that holds these shards; doing it twice recalls nothing twice.

        A copy whose recipient said after its last export that it is gone is not recalled again.

        Args:
            removal: statement id of what the removal was asked for with.
            contract: the contract whose deletion duty sets the days to answer (at least one).
            subjects: the removed shards.
        """
        removed = tuple(subjects)
        agreed = read_unverified(self.contracting.contracts.contract(contract).envelope, Contract)
        term = timedelta(days=max(_LEAST_DAYS, agreed.deletion.deadline_days))
        gone = self._gone(removal)
        for export in copies(self.store.exports(), removed):
            said = gone.get((export.recipient, export.artifact, export.digest))
            if said is None or said <= export.at:
                self._recall(export, removal, removed, term)
        made = self.store.recalls(removal)
        self.logbook.record(Kind.RECALL, *(Envelope.parse(record.envelope) for record in made))
        return made

    def _gone(self, removal: Digest) -> dict[tuple[str, Artifact, Digest], datetime]:
        """When the recipient of a copy last answered another removal's recall that it holds none."""
        gone: dict[tuple[str, Artifact, Digest], datetime] = {}
        for record in self.store.recalls():
            answer = record.answered
            if record.removal != removal and answer and answer.answer.settles:
                copy = (record.said.recipient, record.said.artifact, record.said.recalled)
                gone[copy] = max(answer.answered, gone.get(copy, answer.answered))
        return gone

    def _recall(self, export: Export, removal: Digest, removed: tuple[Digest, ...], term: timedelta) -> None:
        now = max(self.clock(), export.at)
        recall = Recall(
            recall_id=str(uuid.uuid4()),
            publisher=self.logbook.coordinator,
            removal=removal,
            recipient=export.recipient,
            artifact=export.artifact,
            recalled=export.digest,
            shards=tuple(set(removed) & set(export.shards)),
            replacement=self._replacement(export, removed),
            exported=export.at,
            issued=now,
            answer_by=now + term,
        )
        envelope = sign_statement(recall, self.logbook.signer)
        self.store.add_recall(
            RecallRecord(id=statement_id(envelope), removal=removal, envelope=envelope.to_bytes())
        )  # before it is logged: after a crash the same one is logged, not a second one

    def _replacement(self, export: Export, removed: tuple[Digest, ...]) -> Digest | None:
        if export.artifact is not Artifact.COMPOSITE:
            return None
        live = [
            c for c in self.composites.composites() if c.group == export.group and not set(c.members) & set(removed)
        ]
        return live[-1].id if live and live[-1].id != export.digest else None

    def find(self, beginning: str) -> RecallRecord:
        """The one recall whose id begins so. NotFoundError when there is none, or more than one."""
        wanted = beginning.removeprefix("sha256:")
        found = [record for record in self.store.recalls() if record.id.hex.startswith(wanted)]
        if len(found) != 1:
            raise NotFoundError(f"{len(found)} recalls begin with {beginning!r}; `recall list` shows their ids")
        return found[0]

    def bundle(self, record: RecallRecord) -> bytes:
        """The file that its recipient verifies offline, with the log proof that most parties have cosigned so far."""
        envelope = Envelope.parse(record.envelope)
        roster = self.logbook.roster().envelope
        return RecallBundle(recall=envelope, roster=roster, proof=self.logbook.prove(Kind.RECALL, envelope)).to_bytes()

    def overdue(self, now: datetime) -> list[RecallRecord]:
        """The recalls whose answer was due at a time and had not come, oldest first."""
        return [record for record in self.store.recalls() if record.standing(now) is Standing.OVERDUE]

    def key_of(self, recipient: str) -> PublicKey | None:
        """The key on record for a recipient: its own, or its statement key where it is a party."""
        for known in self.store.recipients():
            if known.id == recipient:
                return known.key
        return next((party.statement_key for party in self.parties.parties() if party.id == recipient), None)

    def add_recipient(self, recipient: Recipient) -> None:
        """Put a recipient's key on record.

        Raises:
            ConflictError: it is a party, the coordinator, or has another key; or the key is another's.
        """
        parties = self.parties.parties()
        if recipient.id in {self.logbook.coordinator, *(party.id for party in parties)}:
            raise ConflictError(f"{recipient.id} is in the roster; its key there counts")
        taken = {self.logbook.key, *(key for party in parties for key in party.keys)}
        taken |= {known.key for known in self.store.recipients() if known.id != recipient.id}
        if recipient.key in taken:
            raise ConflictError(f"the key of {recipient.id} is somebody else's; each recipient has a key of its own")
        self.store.put_recipient(recipient)

    def take_answer(self, record: RecallRecord, data: bytes) -> RecallAnswer:
        """Keep a recipient's signed answer.

        Raises:
            RefusedError: there is no key on record for it, or a later answer is known.
            TrustError: not signed by it, or not an answer to this recall.
        """
        recall = self._proven(record)
        key = self.key_of(recall.value.recipient)
        if key is None:
            raise RefusedError(
                f"{recall.value.recipient} has no key on record; add it with `recipient add`, or enter who said so"
            )
        return self._keep(record, open_answer(data, recall, key))

    def enter_answer(self, record: RecallRecord, answer: Answer, said_by: str, at: datetime, note: str) -> RecallAnswer:
        """Keep what somebody at a recipient without a key said to the operator; the coordinator signs it.

        Raises:
            ConflictError: the recipient has a key on record, and signs its answer itself.
            RefusedError: it is said to be later than now, or a later answer is known.
            StatementError: it is earlier than the recall, or names nobody.
        """
        recall = self._proven(record)
        recipient = recall.value.recipient
        if self.key_of(recipient) is not None:
            raise ConflictError(f"{recipient} has a key on record: it signs its answer with `severable-verify recall`")
        if at > self.clock():
            raise RefusedError("the answer is said to be later than now; give the time when it was said")
        said = RecallAnswer(
            recall=record.id, recipient=recipient, answer=answer, answered=at, note=note, said_by=said_by
        )
        require_answer_to(said, recall)
        envelope = sign_statement(said, self.logbook.signer)
        return self._keep(record, open_statement(envelope, RecallAnswer, [self.logbook.key]))

    def _proven(self, record: RecallRecord) -> Proven[Recall]:
        return open_statement(record.envelope, Recall, [self.logbook.key])

    def _keep(self, record: RecallRecord, proven: Proven[RecallAnswer]) -> RecallAnswer:
        known = record.answered
        if known is not None and known != proven.value and proven.value.answered <= known.answered:
            raise RefusedError(f"{known.recipient} answered {known.answer!r} later than that already")
        self.logbook.record(Kind.RECALL_ANSWER, proven.envelope)
        if known != proven.value:
            self.store.set_answer(record.id, proven.envelope.to_bytes())
        return proven.value
