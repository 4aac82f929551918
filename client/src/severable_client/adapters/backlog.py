"""The backlog: one worker process at a time, for the oldest job that is not finished."""

import os
import sys
import time
from collections.abc import Callable

from severable_client.adapters.leftovers import Leftovers
from severable_client.adapters.supervisor import Child
from severable_client.bootstrap import Home, now
from severable_client.errors import JobStateError
from severable_client.jobs import describe
from severable_client.ports import Job, JobReport, JobState

ATTEMPTS = 3
TELL_EVERY_S = 10.0


class Backlog:
    """Looks after the jobs of one home.

    Args:
        home: the opened home.
        leftovers: where running workers are noted.
        say: told one line when a job gets somewhere.
    """

    def __init__(self, home: Home, leftovers: Leftovers, say: Callable[[str], None]) -> None:
        self._home = home
        self._leftovers = leftovers
        self._say = say
        self._job_id = ""
        self._told: tuple[JobState, float] | None = None
        self.worker: Child | None = None

    def tend(self) -> None:
        """Start, watch or follow up the worker; returns at once."""
        if self.worker is None:
            self._begin()
        elif self.worker.running():
            self._tell()
        else:
            self._follow_up(self.worker)

    def _begin(self) -> None:
        waiting = [job for job in self._home.jobs.unfinished() if job.report.state is not JobState.UNRELEASED]
        if not waiting:
            return
        job = waiting[0]
        if job.attempts >= self._allowed(job):
            detail = (
                f"the worker ended {job.attempts} times without a result; see {self._home.layout.logs / 'worker.log'}"
            )
            self._home.jobs.record(job.id, _failed(job, detail), now())
            self._say(f"job {job.id[:12]}: {detail}")
            return
        count = self._home.jobs.attempt(job.id, now())
        starting = JobReport(
            state=JobState.QUEUED, detail=f"a worker is starting (attempt {count} of {self._allowed(job)})"
        )
        self._home.jobs.record(job.id, starting, now())
        command = [sys.executable, "-P", "-m", "severable_client.worker"]
        command += ["--home", str(self._home.layout.root), "--job", job.id]
        threads = str(self._home.config.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
        self.worker = Child("worker", command, environment, self._home.layout.logs / "worker.log", self._leftovers)
        self.worker.start()
        self._job_id, self._told = job.id, None

    def _allowed(self, job: Job) -> int:
        """Shipping has as many attempts again once the owner has released the shard."""
        return ATTEMPTS * (2 if self._home.release_desk.decisions.of(job.id) else 1)

    def _tell(self) -> None:
        job = self._home.jobs.get(self._job_id)
        if job is None or job.report.state is JobState.QUEUED or job.report.state.final:
            return
        moment = time.monotonic()
        if self._told is None or self._told[0] is not job.report.state or moment - self._told[1] >= TELL_EVERY_S:
            self._say(describe(job, now()))
            self._told = (job.report.state, moment)

    def _follow_up(self, worker: Child) -> None:
        code = worker.exit_code()
        worker.end(time.monotonic())
        self.worker = None
        job = self._home.jobs.get(self._job_id)
        if job is None:
            raise JobStateError(f"job {self._job_id[:12]} is gone from the database")
        if job.report.state.final:
            self._say(describe(job, now()))
        elif job.report.state is JobState.UNRELEASED:
            self._say(f"{describe(job, now())}; see `severable-client report {job.id[:12]}`")
        else:
            self._say(f"job {job.id[:12]}: the worker ended (exit {code}): {worker.last_words()}")


def _failed(job: Job, detail: str) -> JobReport:
    return JobReport(state=JobState.FAILED, step=job.report.step, steps=job.report.steps, detail=detail)
