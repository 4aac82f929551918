"""One sitting of a training: taken up where the last one was put down, kept now and then, looked at on the way.

Only the worker process imports this module (torch). Files and figures stand behind ports.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from severable_client.errors import AbandonedError
from severable_diffusion.errors import CheckpointError
from severable_diffusion.samples import sample_grid
from severable_diffusion.training import TrainedShard, Trainer, TrainingProgress

FIGURES_EVERY_S = 1.0


class TrainingStore(Protocol):
    """Where one training is kept; nothing of it leaves the machine."""

    def keep(self, trainer: Trainer, seconds: float) -> None:
        """Keep where a training stands, after so many seconds, in place of what was kept."""
        ...

    def take_up(self, trainer: Trainer) -> float | None:
        """Put a fresh trainer where the kept one was and return its seconds; None if nothing is kept.

        Raises:
            CheckpointError: what is kept is damaged or another training's; the trainer is left as it was.
        """
        ...

    def picture(self, step: int, image: Image.Image) -> None:
        """Keep a picture of samples."""
        ...


class Figures(Protocol):
    """Where the figures of one training are written."""

    def begin(self, step: int) -> None:
        """Go on after so many steps; what was written of later ones does not count."""
        ...

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write the figures of a step, by name."""
        ...

    def picture(self, step: int, image: Image.Image) -> None:
        """Write a picture of samples."""
        ...

    def close(self) -> None:
        """End; nothing is written afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """How a training sits: what is kept, how often, and who is told.

    Attributes:
        store: where it is kept.
        figures: where its figures go.
        checkpoint_s: seconds between two checkpoints.
        grid_s: seconds between two pictures of samples; 0 draws none.
        clock: seconds that only go forward.
        asked_to_end: whether this process was asked to end.
        on_progress: called after every step; what it raises ends the sitting.
        on_resumed: called with (step, steps, seconds until there) when an earlier sitting is taken up.
        say: told a line for people when something happens.
    """

    store: TrainingStore
    figures: Sequence[Figures]
    checkpoint_s: float
    grid_s: float
    clock: Callable[[], float]
    asked_to_end: Callable[[], bool]
    on_progress: Callable[[TrainingProgress], None]
    on_resumed: Callable[[int, int, float], None]
    say: Callable[[str], None]


class Sitting:
    """Trains to the end, or until somebody or something ends the sitting.

    Args:
        trainer: fresh.
        custom: how it sits.
    """

    def __init__(self, trainer: Trainer, custom: Custom) -> None:
        self._trainer = trainer
        self._custom = custom
        self._earlier_s = 0.0
        self._began_s = self._kept_s = self._drawn_s = self._told_s = custom.clock()
        self._told_step = 0

    def run(self) -> TrainedShard:
        """Do the remaining steps and return the shard.

        Raises:
            AbandonedError: this process was asked to end, or nobody waits for it; where the training stands is kept.
            StorageError: it could not be kept; an earlier checkpoint is there still.
        """
        try:
            self._take_up()
            self._advance()
        finally:
            for figures in self._custom.figures:
                figures.close()
        return self._trainer.shard()

    def _advance(self) -> None:
        try:
            while not self._trainer.done:
                self._after(self._trainer.advance())
        except AbandonedError:
            self._keep()
            raise
        self._keep()  # what follows can be interrupted too

    def _take_up(self) -> None:
        trainer, custom = self._trainer, self._custom
        try:
            earlier_s = custom.store.take_up(trainer)
        except CheckpointError as error:
            custom.say(f"an earlier sitting is not taken up: {error}; training begins anew")
            earlier_s = None
        for figures in custom.figures:
            figures.begin(trainer.step)
        self._told_step = trainer.step
        if earlier_s is not None:
            self._earlier_s = earlier_s
            custom.say(f"goes on after step {trainer.step} of {trainer.steps}, {earlier_s:.0f} s of training")
            custom.on_resumed(trainer.step, trainer.steps, earlier_s)

    def _after(self, progress: TrainingProgress) -> None:
        custom, moment = self._custom, self._custom.clock()
        if progress.note:
            custom.say(progress.note)
        if progress.held_out_loss is not None or self._trainer.done or moment - self._told_s >= FIGURES_EVERY_S:
            self._tell(progress, moment)
        if custom.grid_s and (self._trainer.done or moment - self._drawn_s >= custom.grid_s):
            self._draw(progress.step)
        if moment - self._kept_s >= custom.checkpoint_s:
            self._keep()
        custom.on_progress(progress)
        if custom.asked_to_end():
            raise AbandonedError(
                f"asked to end after step {progress.step}; the job goes on from there at the next `up`"
            )

    def _tell(self, progress: TrainingProgress, moment: float) -> None:
        values = {"loss": progress.loss, "learning_rate": progress.learning_rate}
        if progress.held_out_loss is not None:
            values["held_out_loss"] = progress.held_out_loss
        if moment > self._told_s:
            done = progress.step - self._told_step
            values["images_per_second"] = done * self._trainer.recipe.training.batch / (moment - self._told_s)
        for figures in self._custom.figures:
            figures.scalars(progress.step, values)
        self._told_s, self._told_step = moment, progress.step

    def _draw(self, step: int) -> None:
        image = sample_grid(self._trainer)
        self._custom.store.picture(step, image)
        for figures in self._custom.figures:
            figures.picture(step, image)
        self._drawn_s = self._custom.clock()

    def _keep(self) -> None:
        moment = self._custom.clock()
        self._custom.store.keep(self._trainer, self._earlier_s + moment - self._began_s)
        self._kept_s = moment
