"""Taking in an erasure request: verified, acknowledged, logged, and its contract ended unless only records are erased.

A request by clause `record-erasure` names live shards of a contract in force, which stays. What follows is removal.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from severable_coordinator.contracting import Contracting
from severable_coordinator.errors import NotFoundError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.orders import IN_FORCE, Orders, notice_end
from severable_coordinator.ports import (
    Clock,
    ContractRecord,
    ContractStore,
    RemovalRecord,
    RemovalStore,
    ShardState,
    ShardStore,
)
from severable_trust.bundle import ReceiptBundle
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.order import read_trigger
from severable_trust.removal import RECORDS, Acknowledgement, ErasureRequest
from severable_trust.statement import Kind, open_statement, read_unverified, sign_statement


def is_about_records(record: RemovalRecord) -> bool:
    """Whether a removal is of single shards, to be replaced, under a contract that stays."""
    return read_trigger(record.envelope).clause == RECORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Receives erasure requests."""

    contracting: Contracting
    contracts: ContractStore
    shards: ShardStore
    removals: RemovalStore
    logbook: Logbook
    clock: Clock
    orders: Orders

    def receive(self, party: str, envelope: Envelope) -> RemovalRecord:
        """Acknowledge a party's signed request; the same request again gets the same acknowledgement.

        Raises:
            TrustError: not signed by the party, or not a request.
            RefusedError: another party's request, contract or shard; or about records under a contract not in force.
        """
        key = self.logbook.roster().value.party(party).statement_key
        request = open_statement(envelope, ErasureRequest, [key])
        if request.value.party != party:
            raise RefusedError(f"the request is {request.value.party}'s, the connection is {party}'s")
        try:
            return self.removals.removal(request.id)
        except NotFoundError:
            return self._open(party, envelope, request.id, request.value)

    def _open(self, party: str, envelope: Envelope, request_id: Digest, request: ErasureRequest) -> RemovalRecord:
        contract = self.contracts.contract(request.contract)
        if contract.party != party:
            raise RefusedError(f"contract {contract.id} is not yours")
        for subject in request.subjects:
            if not self._may_name(party, request, subject):
                raise RefusedError(f"shard {subject} is not yours")
        now = self.clock()
        due = now
        if request.clause == RECORDS:
            self._require_staying(contract, request)
        elif contract.state in IN_FORCE:
            self.contracting.terminate(contract, now)
            due = notice_end(self.contracting.prove(contract).value, now)
        days = self.contracting.prove(contract).value.deletion.deadline_days
        acknowledgement = sign_statement(
            Acknowledgement(request=request_id, received=now, expected_completion=due + timedelta(days=days)),
            self.logbook.signer,
        )
        record = RemovalRecord(
            request=request_id,
            party=party,
            contract=contract.id,
            envelope=envelope.to_bytes(),
            acknowledgement=acknowledgement.to_bytes(),
            state="open",
        )
        self.logbook.record(Kind.ERASURE_REQUEST, envelope)
        self.logbook.record(Kind.ACKNOWLEDGEMENT, acknowledgement)
        return self.orders.judge(self.removals.open(record))

    def _may_name(self, party: str, request: ErasureRequest, subject: Digest) -> bool:
        """Whether a shard is the party's own; one that nobody knows may be named to end a contract, and is denied."""
        try:
            return self.shards.shard(subject).party == party
        except NotFoundError:
            if request.clause == RECORDS:
                raise
            return True

    def _require_staying(self, contract: ContractRecord, request: ErasureRequest) -> None:
        """Refuse records' erasure where the contract is not in force or is not the one of every shard. RefusedError."""
        if contract.state not in IN_FORCE:
            raise RefusedError(
                f"contract {contract.id} is {contract.state}; only one in force gets its shards replaced"
            )
        versions = self.contracting.versions(contract.id)
        for shard in map(self.shards.shard, request.subjects):
            if shard.contract not in versions:
                raise RefusedError(f"shard {shard.id} is not of contract {contract.id}")
            if shard.state is not ShardState.LIVE:
                raise RefusedError(f"shard {shard.id} is {shard.state} already")

    def removal(self, party: str, request: Digest) -> RemovalRecord:
        """A party's own removal. NotFoundError; RefusedError when it is another's."""
        record = self.removals.removal(request)
        if record.party != party:
            raise RefusedError(f"request {request} is not yours")
        return record

    def receipt(self, record: RemovalRecord) -> bytes:
        """The receipt's bundle with the newest roster and the best-vouched log proof; empty until it is fulfilled.

        The receipt itself never changes. Parties cosign after it was issued, so its proof gets better with time.
        """
        if not record.bundle:
            return b""
        bundle = ReceiptBundle.parse(record.bundle)
        proof = self.logbook.prove(Kind.RECEIPT, bundle.receipt)
        return replace(bundle, roster=self.logbook.roster().envelope, proof=proof).to_bytes()

    def due(self, record: RemovalRecord) -> datetime:
        """When a removal may begin: as was promised in the acknowledgement, less the days that it may take."""
        contract = self.contracting.prove(self.contracts.contract(record.contract)).value
        promised = read_unverified(record.acknowledgement, Acknowledgement).expected_completion
        return promised - timedelta(days=contract.deletion.deadline_days)
