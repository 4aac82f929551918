"""Erasing records: what is read no more, what was trained on them, and which admitted shards are to be replaced.

Pure but for its ports. An erased record is known by its keyed hash alone (`catalogue.record_hash`), which also says in
which sub-shard it was, whatever their number. The list of hashes only grows, and a training notes how many there were
when it read its images: so what is stale can be told at any time, also after a crash between two steps of an erasure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from severable_client.catalogue import Choice, ImageRecord, place, record_hash
from severable_client.contracts import Holdings, versions
from severable_client.errors import ContractProblemError, JobStateError, RefusedByCoordinatorError
from severable_client.exchange import Exchange
from severable_client.jobs import part_of
from severable_client.ports import ContractRecord, ContractStore, Job, JobReport, JobState, JobStore
from severable_client.removal import Removal, RemovalStore, send
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.keys import Signer
from severable_trust.removal import RECORDS, ErasureRequest
from severable_trust.shard import SubShard
from severable_trust.statement import read_unverified, sign_statement

REASON_CODE = "records-erased"
ANEW = "records were erased; it is trained anew without them"
_STANDING = frozenset({ContractState.SIGNED, ContractState.ACTIVE, ContractState.SUSPENDED})


class ErasedStore(Protocol):
    """Hashes of erased records in the order of their erasure; none ever goes."""

    def all(self) -> tuple[bytes, ...]:
        """Return every hash, oldest first."""
        ...

    def count(self) -> int:
        """Return how many there are; cheap enough to be asked at every step of a training."""
        ...

    def add(self, hashes: Sequence[bytes]) -> int:
        """Keep those that are not there yet, all or none, for good; return how many they were."""
        ...


class Traces(Protocol):
    """What the trainings of jobs left on this machine."""

    def note(self, job_id: str, excluded: int) -> None:
        """Note how many records were erased when the job read its images."""
        ...

    def excluded(self, job_id: str) -> int:
        """Return what was noted, 0 if nothing."""
        ...

    def discard(self, job_id: str) -> None:
        """Remove all that a job's training left."""
        ...


class Remaining(Choice):
    """The records of one sub-shard, or all of them, without those that their owner erased.

    Args:
        salt: the home's secret.
        erased: hashes of erased records.
        part: the sub-shard, or None for all.
    """

    def __init__(self, salt: bytes, erased: Iterable[bytes], part: SubShard | None = None) -> None:
        self._salt = salt
        self._erased = frozenset(erased)
        self._part = part

    def takes(self, record: ImageRecord) -> bool:
        """Return whether the record is there and in the part."""
        hashed = record_hash(self._salt, record.record)
        return hashed not in self._erased and holds(self._part, hashed)

    def erased(self, record: str) -> bool:
        """Return whether it was erased."""
        return record_hash(self._salt, record) in self._erased


def holds(part: SubShard | None, hashed: bytes) -> bool:
    """Return whether a shard of this part is trained on the record of this hash, while it is there."""
    return part is None or place(hashed, part.count) == part.index


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasures:
    """What was erased, held against what was trained.

    Attributes:
        erased: erased records.
        traces: what trainings left.
        jobs: jobs known.
        contracts: contracts held.
        removals: what was asked of the coordinator.
        clock: the time now.
    """

    erased: ErasedStore
    traces: Traces
    jobs: JobStore
    contracts: ContractStore
    removals: RemovalStore
    clock: Callable[[], datetime]

    def part(self, job: Job) -> SubShard | None:
        """Return the sub-shard of a job that was accepted. ContractProblemError when its contract is gone."""
        record = self.contracts.get(job.request.contract)
        if record is None:
            raise ContractProblemError(f"contract {job.request.contract} of a job is not held any more")
        return part_of(job.request, read_unverified(record.envelope, Contract))  # verified when it was received

    def stale(self, job: Job, more: Sequence[bytes] = ()) -> bool:
        """Return whether a record that this job's images held was erased since they were read, or is in `more`."""
        since = self.erased.all()[self.traces.excluded(job.id) :]
        if not since and not more:
            return False
        part = self.part(job)
        return any(holds(part, hashed) for hashed in (*since, *more))

    def sweep(self) -> None:
        """Remove what stale trainings left here, and have their jobs trained anew; the worker does so with its own."""
        for job in filter(self.stale, self.jobs.all()):
            if not job.report.state.final and not job.report.state.waits:
                continue
            self.traces.discard(job.id)
            if job.report.state is JobState.UNRELEASED:
                try:
                    self.jobs.record(job.id, JobReport(state=JobState.QUEUED, detail=ANEW), self.clock())
                except JobStateError:  # its owner has just decided about it
                    continue

    def unanswered(self) -> tuple[Removal, ...]:
        """Return the requests for single shards that had no answer yet."""
        return tuple(
            removal for removal in self.removals.all() if removal.says.clause == RECORDS and not removal.acknowledgement
        )

    def to_withdraw(self, more: Sequence[bytes] = ()) -> tuple[tuple[ContractRecord, tuple[Digest, ...]], ...]:
        """Return the admitted shards that held erased records and were not asked back yet, by contract in force."""
        asked = {subject for removal in self.removals.all() for subject in removal.says.subjects}
        shipped = [job for job in self.jobs.all() if job.report.state is JobState.SHIPPED]
        stale = [(job, Digest.parse(job.report.detail)) for job in shipped if self.stale(job, more)]
        found = []
        for record in self.contracts.all():
            if record.state in _STANDING:
                ids = versions(record, self.contracts)
                shards = sorted(shard for job, shard in stale if job.request.contract in ids and shard not in asked)
                if shards:
                    found.append((record, tuple(shards)))
        return tuple(found)


def ask(
    erasures: Erasures,
    signer: Callable[[], Signer],
    exchange: Exchange,
    holdings: Holdings,
    *,
    new_id: Callable[[], str],
) -> tuple[Removal, ...]:
    """Ask the coordinator for every shard that is to be replaced; what had no answer is sent again, the same bytes.

    Returns:
        What was acknowledged now.

    Raises:
        UnreachableError: what was not asked yet is kept for the next try.
        RefusedByCoordinatorError: it does not take a request; that one is not kept.
        AnswerError: an acknowledgement does not hold.
    """
    waiting = list(erasures.unanswered())
    for record, shards in erasures.to_withdraw():
        request = ErasureRequest(
            request_id=new_id(),
            party=holdings.sides.party,
            contract=Digest.parse(record.id),
            clause=RECORDS,
            reason_code=REASON_CODE,
            reason="",  # whatever an owner wrote here could name somebody
            subjects=shards,
            submitted=erasures.clock(),
        )
        waiting.append(Removal(request=sign_statement(request, signer()).to_bytes()))
    for removal in waiting:
        erasures.removals.put(removal)
    return tuple(_sent(removal, exchange, holdings, erasures.removals) for removal in waiting)


def _sent(removal: Removal, exchange: Exchange, holdings: Holdings, removals: RemovalStore) -> Removal:
    try:
        return send(removal, exchange, holdings, removals)
    except RefusedByCoordinatorError:
        removals.drop(removal)
        raise
