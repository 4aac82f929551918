"""What the log knows of requests, orders, denials and recalls, put back into the stores of a restored home.

Each statement was verified with the log. What the stores hold already stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from severable_coordinator.contracting import OPEN_STATES, Contracting
from severable_coordinator.errors import NotFoundError
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import ContractStore, RemovalRecord, RemovalStore
from severable_coordinator.recalls import RecallRecord, RecallStore
from severable_trust.contract import ContractState
from severable_trust.denial import Denial
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.order import OrderClause, RemovalOrder, Trigger
from severable_trust.recall import Recall, RecallAnswer
from severable_trust.receipt import Receipt
from severable_trust.removal import RECORDS, Acknowledgement, ErasureRequest
from severable_trust.statement import Kind, read_unverified, statement_id

T = TypeVar("T", Receipt, ErasureRequest, RemovalOrder, Acknowledgement, Denial, Recall, RecallAnswer)

_ENDS = {
    OrderClause.EXPIRY: ContractState.EXPIRED,
    OrderClause.TERMINATION: ContractState.TERMINATED,
    OrderClause.BREACH: ContractState.BREACHED,
}


def statements(logbook: Logbook, kind: Kind, form: type[T]) -> Iterator[tuple[Envelope, T]]:
    """The logged statements of a kind whose bodies are held, in order."""
    for logged in logbook.log.statements(kind):
        try:
            envelope = Envelope.parse(logbook.log.body(logged))
        except NotFoundError:
            continue
        yield envelope, read_unverified(envelope, form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopening:
    """Puts back what the log knows."""

    contracting: Contracting
    contracts: ContractStore
    removals: RemovalStore
    recalls: RecallStore
    logbook: Logbook

    def run(self) -> None:
        """Put back removals that were asked for or ordered, those that were denied, and recalls with their answers."""
        answers = {
            said.request: envelope for envelope, said in statements(self.logbook, Kind.ACKNOWLEDGEMENT, Acknowledgement)
        }
        for envelope, request in statements(self.logbook, Kind.ERASURE_REQUEST, ErasureRequest):
            self._open(envelope, request, answers)
        for envelope, order in statements(self.logbook, Kind.REMOVAL_ORDER, RemovalOrder):
            self._open(envelope, order, answers)
        for envelope, denial in statements(self.logbook, Kind.DENIAL, Denial):
            self._deny(envelope, denial)
        self._recall()

    def end(self, contract: Digest, state: ContractState = ContractState.TERMINATED) -> None:
        """End a contract that a removal rests on, should it be open still."""
        try:
            record = self.contracting.governing(contract)
        except NotFoundError:  # of another coordinator, or its body is not held: it permits nothing here
            return
        if record.state in OPEN_STATES:
            self.contracts.put(replace(record, state=state))

    def _open(self, envelope: Envelope, trigger: Trigger, answers: dict[Digest, Envelope]) -> None:
        answer = answers.get(statement_id(envelope))
        if answer is None:  # a crash came between the two; the party asks again, or the coordinator orders again
            return
        if isinstance(trigger, RemovalOrder):
            self.end(trigger.contract, _ENDS[trigger.clause])
        elif trigger.clause != RECORDS:
            self.end(trigger.contract)
        self.removals.open(
            RemovalRecord(
                request=statement_id(envelope),
                party=trigger.party,
                contract=trigger.contract,
                envelope=envelope.to_bytes(),
                acknowledgement=answer.to_bytes(),
                state="open",
            )
        )

    def _deny(self, envelope: Envelope, denial: Denial) -> None:
        try:
            record = self.removals.removal(denial.request)
        except NotFoundError:  # its acknowledgement is not held
            return
        if record.state == "open":
            self.removals.deny(denial.request, denial.reason_code.state, envelope.to_bytes())

    def _recall(self) -> None:
        for envelope, recall in statements(self.logbook, Kind.RECALL, Recall):
            recall_id = statement_id(envelope)
            self.recalls.add_recall(RecallRecord(id=recall_id, removal=recall.removal, envelope=envelope.to_bytes()))
        for envelope, answer in statements(self.logbook, Kind.RECALL_ANSWER, RecallAnswer):
            self.recalls.set_answer(answer.recall, envelope.to_bytes())
