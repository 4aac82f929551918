"""What the use cases need from outside: values that cross the border and the protocols that carry them.

Nothing here knows Flower, gRPC, SQL or YAML. Every protocol of storage has one contract suite (tests/contracts)
that the in-memory and the SQLite implementation both pass. Times are UTC and always passed in. The coordinator as this
side sees it is in ``exchange``.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from severable_trust.contract import ContractState


class JobState(StrEnum):
    """Where a job stands; REFUSED, SHIPPED, WITHHELD and FAILED are final."""

    PENDING = "pending"
    REFUSED = "refused"
    UNAPPROVED = "waiting for approval"
    QUEUED = "queued"
    TRAINING = "training"
    GATING = "gating"
    UNRELEASED = "waiting for release"
    SHIPPING = "shipping"
    SHIPPED = "shipped"
    WITHHELD = "withheld"
    FAILED = "failed"

    @property
    def waits(self) -> bool:
        """Whether the owner has to decide before anything follows: about the recipe, or about the shard."""
        return self in {JobState.UNAPPROVED, JobState.UNRELEASED}

    @property
    def final(self) -> bool:
        """Whether nothing follows this state."""
        return self in {JobState.REFUSED, JobState.SHIPPED, JobState.WITHHELD, JobState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A coordinator's wish, untrusted: "make sure this job exists".

    Attributes:
        task: the coordinator's name for it, for people.
        nonce: 64 hex digits that the shard's claim must repeat.
        contract: ``sha256:...`` of the contract it falls under.
        recipe: ``sha256:...`` of the recipe to train.
        sub_shard: which sub-shard of the records, from 0; None for all of them.
    """

    task: str
    nonce: str
    contract: str
    recipe: str
    sub_shard: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What is said about a job: its state, training steps done of all, and one line (the shard's id once shipped)."""

    state: JobState
    step: int = 0
    steps: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training job of this party, as it is stored.

    Attributes:
        id: 64 hex digits, a digest of what was asked.
        request: what was asked.
        seed: of every random draw of its training; never leaves the machine.
        report: where it stands.
        attempts: how often a worker has been started for it.
        created: when it was accepted.
        started: when training last began, or None; where an attempt takes up an earlier one's training, so much
            earlier as that had taken until there.
        updated: when the report was last written.
    """

    id: str
    request: JobRequest
    seed: int
    report: JobReport
    attempts: int = 0
    created: datetime
    started: datetime | None = None
    updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRecord:
    """A contract as this party holds it: its id, the envelope's exact bytes, and the state."""

    id: str
    envelope: bytes
    state: ContractState


class JournalKind(StrEnum):
    """What an entry of the journal tells of."""

    SENT = "sent"
    DECIDED = "decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One thing that left this machine, or that its owner decided: when, what, about what, how many bytes left."""

    at: datetime
    what: str
    subject: str
    bytes: int
    kind: JournalKind = JournalKind.SENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry in its place in the journal's chain (severable_client.journal has the definition).

    Attributes:
        number: its place, from 1.
        previous: hash of the entry before, 64 hex digits; zeros for the first.
        entry: the entry.
        hash: of all of the above, 64 hex digits.
    """

    number: int
    previous: str
    entry: JournalEntry
    hash: str


class Clock(Protocol):
    """Gives the time now, UTC."""

    def __call__(self) -> datetime:
        """Return an aware datetime."""
        ...


class ContractStore(Protocol):
    """Contracts this party knows of, by id."""

    def put(self, record: ContractRecord) -> None:
        """Keep the record, replacing what was kept under its id."""
        ...

    def get(self, contract_id: str) -> ContractRecord | None:
        """Return the record, or None."""
        ...

    def all(self) -> tuple[ContractRecord, ...]:
        """Return every record, ordered by id."""
        ...


class RecipeStore(Protocol):
    """Recipes' canonical bytes, by the digest of those bytes."""

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest, ``sha256:...``."""
        ...

    def get(self, digest: str) -> bytes | None:
        """Return bytes that have this digest, or None."""
        ...


class JobStore(Protocol):
    """Jobs by id. A final job stays as it is."""

    def add(self, job: Job) -> Job:
        """Keep the job unless its id is known; return what is kept under the id."""
        ...

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None."""
        ...

    def record(self, job_id: str, report: JobReport, at: datetime, *, since: datetime | None = None) -> None:
        """Write a report; the first TRAINING one of an attempt sets ``started``.

        Args:
            job_id: of the job.
            report: where it stands.
            at: the time now.
            since: what ``started`` becomes, where an earlier attempt's training is taken up.

        Raises:
            JobStateError: the job is unknown or already final.
        """
        ...

    def attempt(self, job_id: str, at: datetime) -> int:
        """Count one more start of a worker, clear ``started``, and return the count.

        Raises:
            JobStateError: the job is unknown or already final.
        """
        ...

    def forgive(self, job_id: str, at: datetime) -> None:
        """Take one start of a worker back: it was ended on purpose, and says nothing about the job.

        Raises:
            JobStateError: the job is unknown or already final.
        """
        ...

    def unfinished(self) -> tuple[Job, ...]:
        """Return every job that is not final, oldest first."""
        ...

    def all(self) -> tuple[Job, ...]:
        """Return every job, oldest first."""
        ...


class Journal(Protocol):
    """Appended to whenever something is about to leave this machine, and when its owner decides; a chain by hashes."""

    def note(self, entry: JournalEntry) -> None:
        """Append."""
        ...

    def all(self) -> tuple[JournalEntry, ...]:
        """Return every entry, oldest first."""
        ...

    def links(self) -> tuple[Link, ...]:
        """Return every entry with its place in the chain, oldest first."""
        ...
