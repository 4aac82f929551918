"""What a worker says about its job, in the database where everybody else looks it up.

Whoever says something is asked first whether it may go on: whether the daemon that started it still runs, and whether
the owner's contract is still in force.
"""

import time
from collections.abc import Callable
from datetime import timedelta

from severable_client.bootstrap import Home, now
from severable_client.contracts import permit
from severable_client.ports import Job, JobReport, JobState
from severable_trust.contract import Contract

EVERY_S = 1.0


class JobReports:
    """The reports of one job.

    Args:
        home: the opened home.
        job: the job, not final.
        tether: raises AbandonedError when this process should go on no longer.
        every_s: least seconds between two reports of one state.

    Attributes:
        last: what was said last.
    """

    def __init__(self, home: Home, job: Job, tether: Callable[[], None], every_s: float = EVERY_S) -> None:
        self.last = job.report
        self._home = home
        self._job = job
        self._tether = tether
        self._every_s = every_s
        self._said_s = 0.0

    def permit(self) -> Contract:
        """Return the contract that permits the job.

        Raises:
            ConsentError: the owner refused the recipe.
            ContractProblemError: no contract permits the job any more.
        """
        asked = self._job.request
        self._home.consent.require(asked.recipe)
        return permit(asked.contract, self._home.sides, self._home.contracts, now(), recipe=asked.recipe)

    def say(self, state: JobState, *, step: int, steps: int, detail: str = "") -> None:
        """Write a report: at once when the state changes, else at most once a second.

        Raises:
            AbandonedError: this process should go on no longer.
            ConsentError, ContractProblemError: as `permit`, asked again all along: a contract may end while its shard
                is being trained.
            JobStateError: somebody else has ended the job.
        """
        moment = time.monotonic()
        if state is self.last.state and moment - self._said_s < self._every_s:
            return
        self._tether()
        self.permit()
        self.last = JobReport(state=state, step=step, steps=steps, detail=detail)
        self._said_s = moment
        self._home.jobs.record(self._job.id, self.last, now())

    def resumed(self, step: int, steps: int, seconds: float) -> None:
        """Write that a training goes on from its checkpoint, so many seconds into it."""
        self._tether()
        detail = f"going on from the checkpoint after step {step}"
        self.last = JobReport(state=JobState.TRAINING, step=step, steps=steps, detail=detail)
        self._said_s, moment = time.monotonic(), now()
        self._home.jobs.record(self._job.id, self.last, moment, since=moment - timedelta(seconds=seconds))

    def end(self, report: JobReport) -> None:
        """Write the worker's last report."""
        self._home.jobs.record(self._job.id, report, now())
