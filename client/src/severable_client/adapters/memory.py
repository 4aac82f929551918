"""Stores that live in memory: for tests and dry runs. They pass the same contract suites as the ones on disk."""

from dataclasses import replace
from datetime import datetime

from severable_client.consent import Approval
from severable_client.errors import JobStateError
from severable_client.journal import link_after
from severable_client.ports import ContractRecord, Job, JobReport, JobState, JournalEntry, Link
from severable_trust.digest import Digest


class MemoryContractStore:
    """Contracts in a dictionary."""

    def __init__(self) -> None:
        self._records: dict[str, ContractRecord] = {}

    def put(self, record: ContractRecord) -> None:
        """Keep the record."""
        self._records[record.id] = record

    def get(self, contract_id: str) -> ContractRecord | None:
        """Return the record, or None."""
        return self._records.get(contract_id)

    def all(self) -> tuple[ContractRecord, ...]:
        """Return every record, ordered by id."""
        return tuple(self._records[key] for key in sorted(self._records))


class MemoryRecipeStore:
    """Recipes in a dictionary."""

    def __init__(self) -> None:
        self._recipes: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest."""
        digest = str(Digest.of(data))
        self._recipes[digest] = data
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes, or None."""
        return self._recipes.get(digest)


class MemoryJobStore:
    """Jobs in a dictionary."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> Job:
        """Keep the job unless its id is known."""
        return self._jobs.setdefault(job.id, job)

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None."""
        return self._jobs.get(job_id)

    def record(self, job_id: str, report: JobReport, at: datetime, *, since: datetime | None = None) -> None:
        """Write a report."""
        job = self._open(job_id)
        started = since or job.started or (at if report.state is JobState.TRAINING else None)
        self._jobs[job_id] = replace(job, report=report, updated=at, started=started)

    def attempt(self, job_id: str, at: datetime) -> int:
        """Count one more start of a worker."""
        job = self._open(job_id)
        self._jobs[job_id] = replace(job, attempts=job.attempts + 1, updated=at, started=None)
        return job.attempts + 1

    def forgive(self, job_id: str, at: datetime) -> None:
        """Take one start of a worker back."""
        job = self._open(job_id)
        self._jobs[job_id] = replace(job, attempts=max(0, job.attempts - 1), updated=at)

    def unfinished(self) -> tuple[Job, ...]:
        """Return every job that is not final, oldest first."""
        return tuple(job for job in self.all() if not job.report.state.final)

    def all(self) -> tuple[Job, ...]:
        """Return every job, oldest first."""
        return tuple(sorted(self._jobs.values(), key=lambda job: (job.created, job.id)))

    def _open(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise JobStateError(f"job {job_id[:12]} is unknown")
        if job.report.state.final:
            raise JobStateError(f"job {job_id[:12]} is {job.report.state} already")
        return job


class MemoryApprovalStore:
    """The owner's decisions in a dictionary."""

    def __init__(self) -> None:
        self._approvals: dict[str, Approval] = {}

    def put(self, approval: Approval) -> None:
        """Keep the decision."""
        self._approvals[approval.recipe] = approval

    def get(self, recipe: str) -> Approval | None:
        """Return the decision, or None."""
        return self._approvals.get(recipe)

    def all(self) -> tuple[Approval, ...]:
        """Return every decision, ordered by recipe."""
        return tuple(self._approvals[recipe] for recipe in sorted(self._approvals))


class MemoryJournal:
    """A journal in a list."""

    def __init__(self) -> None:
        self._links: list[Link] = []

    def note(self, entry: JournalEntry) -> None:
        """Append."""
        self._links.append(link_after(entry, self._links[-1] if self._links else None))

    def all(self) -> tuple[JournalEntry, ...]:
        """Return every entry, oldest first."""
        return tuple(link.entry for link in self._links)

    def links(self) -> tuple[Link, ...]:
        """Return every entry with its place in the chain."""
        return tuple(self._links)
