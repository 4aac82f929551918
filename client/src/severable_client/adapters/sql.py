"""The stores over the home's database: contracts and jobs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, func, select, true, update
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_client.adapters.database import contracts, jobs, transaction
from severable_client.adapters.files import write_whole
from severable_client.errors import JobStateError, StorageError
from severable_client.ports import ContractRecord, Job, JobReport, JobRequest, JobState
from severable_trust.contract import ContractState
from severable_trust.digest import Digest

_UNFINISHED = jobs.c.state.not_in([state.value for state in JobState if state.final])


class SqlContractStore:
    """Contracts: the envelope's bytes in a file, the state in the database.

    Args:
        engine: the home's database.
        folder: where the envelopes lie.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def put(self, record: ContractRecord) -> None:
        """Keep the record, envelope first: a state never stands without its bytes."""
        path = self._path(record.id)
        if not path.is_file() or path.read_bytes() != record.envelope:
            write_whole(path, record.envelope)
        state = record.state.value
        row = upsert(contracts).values(id=record.id, state=state)
        with transaction(self._engine) as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["id"], set_={"state": state}))

    def get(self, contract_id: str) -> ContractRecord | None:
        """Return the record, or None."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(contracts).where(contracts.c.id == contract_id)).one_or_none()
        return None if row is None else self._record(row)

    def all(self) -> tuple[ContractRecord, ...]:
        """Return every record, ordered by id."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(contracts).order_by(contracts.c.id)).all()
        return tuple(self._record(row) for row in rows)

    def _record(self, row: Row[Any]) -> ContractRecord:
        path = self._path(row.id)
        try:
            envelope = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        return ContractRecord(id=row.id, envelope=envelope, state=ContractState(row.state))

    def _path(self, contract_id: str) -> Path:
        return self._folder / f"{Digest.parse(contract_id).hex}.dsse.json"


class SqlJobStore:
    """Jobs.

    Args:
        engine: the home's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, job: Job) -> Job:
        """Keep the job unless its id is known; two processes may try at once."""
        with transaction(self._engine) as connection:
            connection.execute(upsert(jobs).values(**_job_row(job)).on_conflict_do_nothing())
            return _job(connection.execute(select(jobs).where(jobs.c.id == job.id)).one())

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else _job(row)

    def record(self, job_id: str, report: JobReport, at: datetime, *, since: datetime | None = None) -> None:
        """Write a report."""
        values = _report_row(report) | {"updated": at.timestamp()}
        if report.state is JobState.TRAINING:
            values["started"] = func.coalesce(jobs.c.started, at.timestamp())
        if since is not None:
            values["started"] = since.timestamp()
        self._change(job_id, values)

    def attempt(self, job_id: str, at: datetime) -> int:
        """Count one more start of a worker."""
        self._change(job_id, {"attempts": jobs.c.attempts + 1, "started": None, "updated": at.timestamp()})
        job = self.get(job_id)
        return 0 if job is None else job.attempts

    def forgive(self, job_id: str, at: datetime) -> None:
        """Take one start of a worker back."""
        self._change(job_id, {"attempts": func.max(0, jobs.c.attempts - 1), "updated": at.timestamp()})

    def _change(self, job_id: str, values: dict[str, Any]) -> None:
        # The condition stands in the statement itself: another process may finish the job in between.
        with transaction(self._engine) as connection:
            changed = connection.execute(update(jobs).where(jobs.c.id == job_id, _UNFINISHED).values(**values))
        if changed.rowcount == 0:
            job = self.get(job_id)
            raise JobStateError(f"job {job_id[:12]} is {job.report.state if job else 'unknown'}")

    def unfinished(self) -> tuple[Job, ...]:
        """Return every job that is not final, oldest first."""
        return self._select(_UNFINISHED)

    def all(self) -> tuple[Job, ...]:
        """Return every job, oldest first."""
        return self._select(true())

    def _select(self, condition: ColumnElement[bool]) -> tuple[Job, ...]:
        query = select(jobs).where(condition).order_by(jobs.c.created, jobs.c.id)
        with transaction(self._engine) as connection:
            return tuple(_job(row) for row in connection.execute(query))


def _report_row(report: JobReport) -> dict[str, Any]:
    return {"state": report.state.value, "step": report.step, "steps": report.steps, "detail": report.detail}


def _job_row(job: Job) -> dict[str, Any]:
    request = job.request
    return _report_row(job.report) | {
        "id": job.id, "task": request.task, "nonce": request.nonce, "contract": request.contract,
        "recipe": request.recipe,
        "sub_shard": request.sub_shard, "seed": job.seed, "attempts": job.attempts, "created": job.created.timestamp(),
        "started": job.started.timestamp() if job.started else None, "updated": job.updated.timestamp(),
    }  # fmt: skip


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        request=JobRequest(
            task=row.task, nonce=row.nonce, contract=row.contract, recipe=row.recipe, sub_shard=row.sub_shard
        ),
        seed=row.seed,
        report=JobReport(state=JobState(row.state), step=row.step, steps=row.steps, detail=row.detail),
        attempts=row.attempts,
        created=_moment(row.created),
        started=None if row.started is None else _moment(row.started),
        updated=_moment(row.updated),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
