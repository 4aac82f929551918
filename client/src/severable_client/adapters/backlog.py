"""The backlog: one worker process at a time, for the oldest job that is not finished."""

import os
import sys
import time
from collections.abc import Callable

from severable_client.adapters.config import read_config
from severable_client.adapters.leftovers import Leftovers
from severable_client.adapters.supervisor import Child
from severable_client.bootstrap import Home, now
from severable_client.ending import AGAIN_LATER
from severable_client.errors import ClientError, DiskFullError, JobStateError
from severable_client.jobs import describe, short_id
from severable_client.ports import Job, JobReport, JobState

ATTEMPTS = 3
AGAIN_S = 60.0  # until a job is begun again that its worker could not go on with: no disk space, no coordinator
TELL_FIRST_S, TELL_LONGEST_S = 10.0, 600.0  # between two lines of one state: twice as long every time


class Backlog:
    """Looks after the jobs of one home.

    Args:
        home: the opened home; may be replaced by one with another configuration.
        leftovers: where running workers are noted.
        say: told one line when a job gets somewhere.
    """

    def __init__(self, home: Home, leftovers: Leftovers, say: Callable[[str], None]) -> None:
        self.home = home
        self._leftovers = leftovers
        self._say = say
        self._job_id = ""
        self._complained = ""
        self._told_waiting: set[tuple[str, JobState]] = set()
        self._not_before_s = 0.0
        self._told: JobState | None = None  # the state last told of
        self._tell_at_s, self._tell_after_s = 0.0, TELL_FIRST_S
        self.worker: Child | None = None

    def tend(self) -> None:
        """Start, watch or follow up the worker; returns at once."""
        try:
            self._tend()
        except DiskFullError as error:  # there may be space again; the daemon lives until then
            self._complain(str(error))
            self._not_before_s = time.monotonic() + AGAIN_S

    def hurry(self) -> None:
        """Begin a job that waits for disk space or for the coordinator at once."""
        self._not_before_s = 0.0

    def _tend(self) -> None:
        self._settle()
        if self.worker is None:
            self._begin()
        elif self.worker.running():
            self._tell()
        else:
            self._follow_up(self.worker)

    def _settle(self) -> None:
        """Let go of jobs that the owner has decided about by now; `approve` does it too, and may have been killed."""
        try:
            settled = self.home.consent.settle()
        except ClientError as error:  # such as a journal that does not hold: nothing is decided, the daemon goes on
            self._complain(f"jobs go on waiting for the owner: {error}")
            return
        for job in settled:
            self._say(f"job {short_id(job.id)}: the owner has decided")

    def _complain(self, line: str) -> None:
        if line != self._complained:
            self._complained = line
            self._say(line)

    def _begin(self) -> None:
        ready = [job for job in self.home.jobs.unfinished() if not job.report.state.waits]
        self._tell_waiting()
        if not ready or time.monotonic() < self._not_before_s or not self._config_holds():
            return
        job = ready[0]
        allowed = self._allowed(job)
        if job.attempts >= allowed:
            detail = (
                f"the worker ended {job.attempts} times without a result; see {self.home.layout.logs / 'worker.log'}"
            )
            self.home.jobs.record(job.id, _failed(job, detail), now())
            self._say(f"job {short_id(job.id)}: {detail}")
            return
        count = self.home.jobs.attempt(job.id, now())
        starting = JobReport(state=JobState.QUEUED, detail=f"a worker is starting (attempt {count} of {allowed})")
        self.home.jobs.record(job.id, starting, now())
        command = [sys.executable, "-P", "-m", "severable_client.worker"]
        command += ["--home", str(self.home.layout.root), "--job", job.id]
        threads = str(self.home.config.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
        self.worker = Child("worker", command, environment, self.home.layout.logs / "worker.log", self._leftovers)
        self.worker.start()
        self._job_id, self._told = job.id, None

    def _allowed(self, job: Job) -> int:
        """Shipping has as many attempts again once the owner has released the shard."""
        return ATTEMPTS * (2 if self.home.release_desk.decisions.of(job.id) else 1)

    def at(self) -> str:
        """Return one line about what the worker is at."""
        if self.worker is None:
            return f"idle, {len(self._waiting())} jobs wait for the owner"
        job = self.home.jobs.get(self._job_id)
        return "working" if job is None else describe(job, now())

    def end(self) -> None:
        """Kill the worker if it still runs; its start is not counted among the job's attempts."""
        if self.worker is None:
            return
        ended = not self.worker.running()
        self.worker.end(time.monotonic())
        self.worker = None
        job = self.home.jobs.get(self._job_id)
        if job is None or job.report.state.final or job.report.state.waits:
            return
        self.home.jobs.forgive(job.id, now())
        how = "has ended" if ended else "was ended after its grace"
        self._say(f"job {short_id(job.id)}: the worker {how}; the job goes on at the next start")

    def _config_holds(self) -> bool:
        """Whether a worker could read config.yaml; says once why not, for a typing error must not cost a job."""
        try:
            read_config(self.home.layout.config)
        except ClientError as error:
            self._complain(f"no job begins until config.yaml is right: {error}")
            return False
        return True

    def _waiting(self) -> list[Job]:
        return [job for job in self.home.jobs.unfinished() if job.report.state.waits]

    def _tell_waiting(self) -> None:
        for job in self._waiting():
            if (job.id, job.report.state) not in self._told_waiting:
                self._told_waiting.add((job.id, job.report.state))
                self._say(describe(job, now()))

    def _tell(self) -> None:
        job = self.home.jobs.get(self._job_id)
        if job is None or job.report.state is JobState.QUEUED or job.report.state.final:
            return
        moment = time.monotonic()
        same = self._told is job.report.state
        if same and moment < self._tell_at_s:
            return
        self._tell_after_s = min(2 * self._tell_after_s, TELL_LONGEST_S) if same else TELL_FIRST_S
        self._told, self._tell_at_s = job.report.state, moment + self._tell_after_s
        self._say(describe(job, now()))

    def _follow_up(self, worker: Child) -> None:
        code = worker.exit_code()
        worker.end(time.monotonic())
        self.worker = None
        job = self.home.jobs.get(self._job_id)
        if job is None:
            raise JobStateError(f"job {self._job_id[:12]} is gone from the database")
        if job.report.state.final:
            self._say(describe(job, now()))
        elif job.report.state is JobState.UNRELEASED:
            self._told_waiting.add((job.id, job.report.state))
            self._say(f"{describe(job, now())}; see `severable-client report {short_id(job.id)}`")
        else:
            self._say(f"job {short_id(job.id)}: the worker ended (exit {code}): {worker.last_words()}")
            if code == AGAIN_LATER:
                self._not_before_s = time.monotonic() + AGAIN_S
                self.home.jobs.forgive(job.id, now())


def _failed(job: Job, detail: str) -> JobReport:
    return JobReport(state=JobState.FAILED, step=job.report.step, steps=job.report.steps, detail=detail)
