"""The part of a worker that trains: the owner's images in; three files, a claim and the gate's report in a folder out.

Only the worker process imports this module (torch).
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from severable_client.adapters.config import Config, Release
from severable_client.adapters.figures import EventFile, MlflowFigures
from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.gate_files import Heading, write_report
from severable_client.adapters.held_shard import CLAIM, prove
from severable_client.adapters.prepared_images import prepare
from severable_client.adapters.training_folder import TrainingFolder
from severable_client.bootstrap import Home, now
from severable_client.erasure import ANEW
from severable_client.errors import AbandonedError
from severable_client.inspection import Inspected
from severable_client.job_reports import JobReports
from severable_client.jobs import part_of, short_id
from severable_client.peers import Share, together
from severable_client.placement import Placement
from severable_client.ports import Job, JobState
from severable_client.sitting import Custom, Figures, Sitting
from severable_client.training import Order, read_recipe, recipe_bytes, train_shard
from severable_client.training_set import TrainingSet
from severable_diffusion.recipe import Recipe
from severable_diffusion.team import Team
from severable_diffusion.training import TrainedShard, Trainer, TrainingProgress
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven

TRAINING = "training"


class JobTraining:
    """The training of one job.

    Args:
        home: the opened home.
        job: the job.
        reports: where its progress is told.
        ending: whether this process was asked to end.
    """

    def __init__(self, home: Home, job: Job, reports: JobReports, ending: Callable[[], bool]) -> None:
        self._home = home
        self._job = job
        self._reports = reports
        self._ending = ending
        self._folder = home.layout.jobs / job.id
        self._kept = TrainingFolder(self._folder / TRAINING)
        self._steps = 0
        self._read_at = home.erased.count()  # records that were erased when this worker began

    def run(self) -> Proven[ShardClaim]:
        """Train, or go on training, and return the claim of the shard in the job's folder.

        Raises:
            AbandonedError: this process was asked to end, or nobody waits for it; what was done is kept.
            PeerLostError: a process that trained with this one has ended; what was kept is whole.
            ClientError: the job cannot be done.
        """
        order = self._order()
        self._reports.say(JobState.TRAINING, step=0, steps=0, detail="reading the images")
        erased = self._home.erased.all()
        self._read_at = len(erased)
        self._home.traces.note(self._job.id, len(erased))
        images = prepare(self._home, order.recipe, self._on_image, part=order.part, erased=erased)
        self._kept.images = str(images.data.root)
        signer = self._home.signer()

        def on_inspected(inspected: Inspected) -> None:
            self._write_report(order.recipe.name, inspected)

        with storage(f"{self._folder} cannot be made"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._together(order, images) as team:
            finished = train_shard(
                order,
                images,
                signer,
                self._on_step,
                self._on_gate,
                on_inspected=on_inspected,
                train=self._sit,
                team=team,
            )
        for name, data in finished.files.items():
            write_whole(self._folder / name, data)
        write_whole(self._folder / CLAIM, finished.claim.to_bytes())  # last: it says that the files are whole
        return prove(self._folder, finished.claim.to_bytes(), self._home.sides.own)

    def begin_anew(self) -> None:
        """Remove what an earlier worker trained on records that have been erased since."""
        if self._home.erasures.stale(self._job):
            self._home.traces.discard(self._job.id)

    def require_current(self) -> None:
        """Return unless a record of this job was erased while this process ran.

        Raises:
            AbandonedError: one was; the next worker begins anew, and nothing of this one is kept.
        """
        if self._home.erased.count() == self._read_at or not self._home.erasures.stale(self._job):
            return
        self._home.traces.forget_images()
        raise AbandonedError(ANEW)

    def _order(self) -> Order:
        contract, config = self._reports.permit(), self._home.config
        recipe = read_recipe(recipe_bytes(self._home.recipes, self._job.request.recipe))
        return Order(
            request=self._job.request,
            party=config.party,
            contract=contract,
            recipe=recipe,
            seed=self._job.seed,
            place=_place(config, recipe),
            part=part_of(self._job.request, contract),
        )

    def _together(self, order: Order, images: TrainingSet) -> AbstractContextManager[Team]:
        self._kept.make()
        share = Share(
            recipe=order.recipe,
            images_NCHW=images.images_NCHW,
            label_N=None if images.label_N is None else images.label_N.numpy(),
            seed=order.seed,
            plan=order.place.plan(),
            size=order.place.processes,
            folder=self._kept.folder,
            images=self._kept.images,
        )
        return together(share, order.place.plan)

    def forget(self) -> None:
        """Remove the checkpoint: nothing follows that could need it."""
        self._kept.forget()

    def _sit(self, trainer: Trainer, on_progress: Callable[[TrainingProgress], None]) -> TrainedShard:
        config = self._home.config
        custom = Custom(
            store=self._kept,
            figures=self._figures(),
            checkpoint_s=60.0 * config.checkpoint_minutes,
            grid_s=60.0 * config.grid_minutes,
            clock=time.monotonic,
            asked_to_end=self._ending,
            on_progress=on_progress,
            on_resumed=self._reports.resumed,
            say=self._tell,
        )
        return Sitting(trainer, custom).run()

    def _figures(self) -> list[Figures]:
        config, figures = self._home.config, list[Figures]()
        self._kept.make()
        if config.mlflow:
            figures.append(MlflowFigures(config.mlflow, self._job.id, self._tell))
        if config.tensorboard:
            figures.append(EventFile(self._kept.folder))
        return figures

    def _tell(self, line: str) -> None:
        sys.stdout.write(f"job {short_id(self._job.id)}: {line}\n")  # into the daemon's worker.log
        sys.stdout.flush()

    def _on_image(self, done: int, total: int) -> None:
        if self._ending():
            raise AbandonedError("asked to end while the images were read; the job goes on at the next `up`")
        self.require_current()
        self._reports.say(JobState.TRAINING, step=0, steps=0, detail=f"reading the images, {done} of {total}")

    def _on_step(self, progress: TrainingProgress) -> None:
        self._steps = progress.steps
        self.require_current()
        detail = f"loss {progress.loss:.4f}"
        self._reports.say(JobState.TRAINING, step=progress.step, steps=progress.steps, detail=detail)

    def _on_gate(self) -> None:
        self._reports.say(JobState.GATING, step=self._steps, steps=self._steps, detail="measuring the shard")

    def _write_report(self, recipe: str, inspected: Inspected) -> None:
        config = self._home.config
        manual = config.release is Release.MANUAL
        heading = Heading(job=self._job, party=config.party, recipe=recipe, manual=manual, at=now())
        write_report(self._folder, heading, inspected)


def _place(config: Config, recipe: Recipe) -> Placement:
    if recipe.training.privacy is not None:
        return Placement(threads=config.threads)  # on the CPU, in float32, alone: see `private_training`
    return Placement(
        device=config.device,
        precision=config.precision.value,
        accumulate=config.accumulate,
        threads=config.threads,
        processes=config.devices,
    )
