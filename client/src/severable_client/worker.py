"""The worker process: takes one job from where it stands to shipped or failed, or until its owner has to decide.

    python -P -m severable_client.worker --home HOME --job ID

The daemon starts it, one at a time; it is the only process that loads torch. It can be killed at any moment: the next
one goes on from the last checkpoint to the same bytes, or, if a signed claim is there, goes on shipping them. Asked to
end (SIGTERM), a training writes a checkpoint and ends, while measuring and uploading go on for as long as the daemon
lets them. It exits with 75 where the job can be taken up again.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from severable_client.adapters.config import Release
from severable_client.adapters.held_shard import held_claim
from severable_client.bootstrap import Home, now, open_home
from severable_client.ending import AGAIN_LATER, asked_to_end, tether_to_parent
from severable_client.errors import (
    AbandonedError,
    ClientError,
    DiskFullError,
    JobStateError,
    PeerLostError,
    UnreachableError,
)
from severable_client.job_reports import EVERY_S, JobReports
from severable_client.job_training import JobTraining
from severable_client.jobs import short_id
from severable_client.ports import Job, JobReport, JobState, JournalEntry
from severable_client.release import WAITS, Verb, decision_on, withheld
from severable_client.shipping import Parcel, Patience, ship
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven


class Worker:
    """One job of one home.

    Args:
        home: the opened home.
        job: the job, not final.
        tether: raises AbandonedError when this process should go on no longer.
        patience: of the upload.
        report_every_s: least seconds between two reports of one state.
        ending: whether this process was asked to end.
    """

    def __init__(
        self,
        home: Home,
        job: Job,
        tether: Callable[[], None],
        patience: Patience,
        report_every_s: float = EVERY_S,
        *,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._home = home
        self._job = job
        self._patience = patience
        self._folder = home.layout.jobs / job.id
        self._reports = JobReports(home, job, tether, report_every_s)
        self._training = JobTraining(home, job, self._reports, ending)

    def run(self) -> JobReport:
        """Do what is left of the job and return its report: final, or that it waits for its owner's release.

        Raises:
            AbandonedError: the daemon has ended or ends, or records were erased; the job can be taken up again.
            DiskFullError: no space is left; the job can be taken up again.
            UnreachableError: the coordinator did not answer for long; the finished shard waits, and is sent later.
            JobStateError: somebody else has ended the job meanwhile.
            PeerLostError: a process that trained with this one was killed; the job can be taken up again.
        """
        self._training.begin_anew()
        try:
            claim = held_claim(self._folder, self._home.sides.own) or self._training.run()
            self._training.require_current()
            last = self._kept_back(claim) or self._ship(claim)
        except (AbandonedError, DiskFullError, JobStateError, PeerLostError, UnreachableError):
            raise
        except ClientError as error:
            self._training.require_current()  # an erasure takes files away: that is no failure of the job
            last = replace(self._reports.last, state=JobState.FAILED, detail=str(error))
        self._training.forget()  # before the report: a final job is never looked at again
        self._reports.end(last)
        return last

    def _kept_back(self, claim: Proven[ShardClaim]) -> JobReport | None:
        """Return the report of a shard that does not leave now: its owner has not decided, or withholds it."""
        decision = decision_on(str(claim.id), self._home.release_desk.decisions.of(self._job.id))
        steps = claim.value.steps
        waits = JobReport(state=JobState.UNRELEASED, step=steps, steps=steps, detail=WAITS)
        if decision is not None:
            return withheld(waits) if decision.verb is Verb.WITHHELD else None
        return waits if self._home.config.release is Release.MANUAL else None

    def _ship(self, claim: Proven[ShardClaim]) -> JobReport:
        sizes = {file.name: file.size for file in claim.value.files}
        parcel = Parcel(claim=claim.envelope.to_bytes(), shard=str(claim.id), sizes=sizes, open=self._open)
        steps = claim.value.steps
        self._reports.say(JobState.SHIPPING, step=steps, steps=steps, detail="opening the upload")
        self._note("shard, upload begun", parcel)

        def on_progress(sent: int, total: int) -> None:
            self._reports.say(JobState.SHIPPING, step=steps, steps=steps, detail=f"{100 * sent // total} % sent")

        with self._home.exchange() as exchange:
            verdict = ship(parcel, exchange, patience=self._patience, sleep=time.sleep, on_progress=on_progress)
        self._note_once("shard, admitted" if verdict.admitted else "shard, refused by the coordinator", parcel)
        if verdict.admitted:
            return JobReport(state=JobState.SHIPPED, step=steps, steps=steps, detail=parcel.shard)
        reason = f"the coordinator refused the shard: {verdict.reason}"
        return JobReport(state=JobState.FAILED, step=steps, steps=steps, detail=reason)

    def _open(self, name: str) -> BinaryIO:
        return (self._folder / name).open("rb")

    def _note_once(self, what: str, parcel: Parcel) -> None:
        """Note how a shipment ended, unless an earlier worker did and was killed before the job's last report."""
        if all((entry.what, entry.subject) != (what, parcel.shard) for entry in self._home.journal.all()):
            self._note(what, parcel)

    def _note(self, what: str, parcel: Parcel) -> None:
        size = sum(parcel.sizes.values()) + len(parcel.claim)
        self._home.journal.note(JournalEntry(at=now(), what=what, subject=parcel.shard, bytes=size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; returns the exit code."""
    parser = argparse.ArgumentParser(prog="severable_client.worker", description="Train and ship one shard.")
    parser.add_argument("--home", type=Path, required=True, help="the owner's home folder")
    parser.add_argument("--job", required=True, help="id of the job to do")
    args = parser.parse_args(arguments)
    tether = tether_to_parent()
    try:
        home = open_home(args.home)
        job = home.jobs.get(args.job)
        if job is None or job.report.state.final:
            raise JobStateError(f"job {args.job[:12]} is {job.report.state if job else 'unknown'}")
        with asked_to_end() as ending:
            last = Worker(home, job, tether, Patience(), ending=ending).run()
        sys.stdout.write(f"job {short_id(job.id)}: {last.state} {last.detail}\n")
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return AGAIN_LATER if isinstance(error, AbandonedError | DiskFullError | UnreachableError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
