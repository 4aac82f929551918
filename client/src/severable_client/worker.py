"""The worker process: takes one job from where it stands to shipped or failed.

    python -P -m severable_client.worker --home HOME --job ID
    python -P -m severable_client.worker --home HOME --look RECIPE_DIGEST

The daemon starts it, one at a time; it is the only process that loads torch. It can be killed at any moment: the next
one trains again from the same seed, or, if a signed claim is there, goes on shipping the very same bytes.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from severable_client.adapters.files import storage, write_whole
from severable_client.bootstrap import Home, now, open_home
from severable_client.contracts import permit
from severable_client.errors import AbandonedError, ClientError, JobStateError, StorageError
from severable_client.ports import Job, JobReport, JobState, JournalEntry
from severable_client.shipping import Parcel, Patience, ship
from severable_client.training import Order, read_images, read_recipe, recipe_bytes, train_shard
from severable_diffusion.training import TrainingProgress
from severable_trust.contract import Contract
from severable_trust.errors import TrustError
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven, open_statement

REPORT_EVERY_S = 1.0
CLAIM = "claim.dsse.json"


class Worker:
    """One job of one home.

    Args:
        home: the opened home.
        job: the job, not final.
        tether: raises AbandonedError when this process should go on no longer.
        patience: of the upload.
        report_every_s: least seconds between two reports of one state.
        ending: whether the daemon wants this process to end; training stops then, shipping may go on.
    """

    def __init__(
        self,
        home: Home,
        job: Job,
        tether: Callable[[], None],
        patience: Patience,
        report_every_s: float = REPORT_EVERY_S,
        *,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._home = home
        self._job = job
        self._tether = tether
        self._patience = patience
        self._report_every_s = report_every_s
        self._ending = ending
        self._folder = home.layout.jobs / job.id
        self._report = job.report
        self._reported_s = 0.0
        self._steps = 0

    def run(self) -> JobReport:
        """Do what is left of the job and return its final report.

        Raises:
            AbandonedError: the daemon has ended; the job can be taken up again.
            JobStateError: somebody else has ended the job meanwhile.
        """
        try:
            claim = self._held_claim() or self._train()
            final = self._ship(claim)
        except (AbandonedError, JobStateError):
            raise
        except ClientError as error:
            final = replace(self._report, state=JobState.FAILED, detail=str(error))
        self._home.jobs.record(self._job.id, final, now())
        return final

    def _permit(self) -> Contract:
        asked = self._job.request
        self._home.consent.require(asked.recipe)
        return permit(asked.contract, self._home.sides, self._home.contracts, now(), recipe=asked.recipe)

    def _say(self, state: JobState, *, step: int, steps: int, detail: str = "") -> None:
        """Write a report: at once when the state changes, else at most once a second."""
        moment = time.monotonic()
        if state is JobState.TRAINING and self._ending():
            raise AbandonedError("the daemon is ending; the job goes on at the next `up`")
        if state is self._report.state and moment - self._reported_s < self._report_every_s:
            return
        self._tether()
        self._permit()  # asked again all along: a contract may end while its shard is being trained
        self._report = JobReport(state=state, step=step, steps=steps, detail=detail)
        self._reported_s = moment
        self._home.jobs.record(self._job.id, self._report, now())

    def _train(self) -> Proven[ShardClaim]:
        contract, config = self._permit(), self._home.config
        recipe = read_recipe(recipe_bytes(self._home.recipes, self._job.request.recipe))
        order = Order(
            request=self._job.request,
            party=config.party,
            contract=contract,
            recipe=recipe,
            seed=self._job.seed,
            threads=config.threads,
        )
        self._say(JobState.TRAINING, step=0, steps=0, detail="reading the images")
        images_NCHW = read_images(Path(config.data), recipe)
        signer = self._home.signer()
        finished = train_shard(order, images_NCHW, signer, self._on_step, self._on_gate)
        with storage(f"{self._folder} cannot be made"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in finished.files.items():
            write_whole(self._folder / name, data)
        write_whole(self._folder / CLAIM, finished.claim.to_bytes())  # last: it says that the files are whole
        return self._proven(finished.claim.to_bytes())

    def _on_step(self, progress: TrainingProgress) -> None:
        self._steps = progress.steps
        self._say(JobState.TRAINING, step=progress.step, steps=progress.steps, detail=f"loss {progress.loss:.4f}")

    def _on_gate(self) -> None:
        self._say(JobState.GATING, step=self._steps, steps=self._steps, detail="measuring the shard")

    def _held_claim(self) -> Proven[ShardClaim] | None:
        """Return the claim of an earlier worker if all that it names is still there."""
        path = self._folder / CLAIM
        if not path.is_file():
            return None
        with storage(f"{path} cannot be read"):
            claim = self._proven(path.read_bytes())
        files = {file.name: self._folder / file.name for file in claim.value.files}
        whole = all(files[f.name].is_file() and files[f.name].stat().st_size == f.size for f in claim.value.files)
        return claim if whole else None

    def _proven(self, claim: bytes) -> Proven[ShardClaim]:
        try:
            return open_statement(claim, ShardClaim, [self._home.sides.own])
        except TrustError as error:
            raise StorageError(f"the claim in {self._folder} does not hold: {error}; remove that folder") from error

    def _ship(self, claim: Proven[ShardClaim]) -> JobReport:
        sizes = {file.name: file.size for file in claim.value.files}
        parcel = Parcel(claim=claim.envelope.to_bytes(), shard=str(claim.id), sizes=sizes, open=self._open)
        steps = claim.value.steps
        self._say(JobState.SHIPPING, step=steps, steps=steps, detail="opening the upload")
        self._note("shard, upload begun", parcel)

        def on_progress(sent: int, total: int) -> None:
            self._say(JobState.SHIPPING, step=steps, steps=steps, detail=f"{100 * sent // total} % sent")

        with self._home.exchange() as exchange:
            verdict = ship(parcel, exchange, patience=self._patience, sleep=time.sleep, on_progress=on_progress)
        self._note("shard, admitted" if verdict.admitted else "shard, refused by the coordinator", parcel)
        if verdict.admitted:
            return JobReport(state=JobState.SHIPPED, step=steps, steps=steps, detail=parcel.shard)
        reason = f"the coordinator refused the shard: {verdict.reason}"
        return JobReport(state=JobState.FAILED, step=steps, steps=steps, detail=reason)

    def _open(self, name: str) -> BinaryIO:
        return (self._folder / name).open("rb")

    def _note(self, what: str, parcel: Parcel) -> None:
        size = sum(parcel.sizes.values()) + len(parcel.claim)
        self._home.journal.note(JournalEntry(at=now(), what=what, subject=parcel.shard, bytes=size))


def tether_to_parent() -> Callable[[], None]:
    """Return a check that raises AbandonedError once this process's parent is no longer the one it has now."""
    parent = os.getppid()

    def check() -> None:
        if os.getppid() != parent:
            raise AbandonedError("the daemon that started this worker has ended; the job goes on at the next `up`")

    return check


def asked_to_end() -> Callable[[], bool]:
    """Return whether SIGTERM has come since; from here on the signal alone does not end this process."""
    asked: list[int] = []  # no Event: the signal may interrupt the very thread that holds its lock
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    return lambda: bool(asked)


def look(home: Home, recipe_digest: str) -> str:
    """Return one line about how the data folder fits a recipe; raises what the worker would raise."""
    recipe = read_recipe(recipe_bytes(home.recipes, recipe_digest))
    count = len(read_images(Path(home.config.data), recipe))
    return f"{count} images in {home.config.data} fit recipe {recipe.name!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job, or look at the data folder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="severable_client.worker", description="Train and ship one shard.")
    parser.add_argument("--home", type=Path, required=True, help="the owner's home folder")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", help="id of the job to do")
    what.add_argument("--look", metavar="RECIPE", help="only say how the data folder fits a recipe, sha256:...")
    args = parser.parse_args(arguments)
    tether = tether_to_parent()
    try:
        home = open_home(args.home)
        if args.look:
            sys.stdout.write(f"{look(home, args.look)}\n")
            return 0
        job = home.jobs.get(args.job)
        if job is None or job.report.state.final:
            raise JobStateError(f"job {args.job[:12]} is {job.report.state if job else 'unknown'}")
        final = Worker(home, job, tether, Patience(), ending=asked_to_end()).run()
        sys.stdout.write(f"job {job.id[:12]}: {final.state} {final.detail}\n")
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
