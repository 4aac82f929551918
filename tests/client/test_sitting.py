"""Sittings of one training: put down, taken up, looked at, and the shard is the same to the byte."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from client.samples import tiny_recipe
from PIL import Image

from severable_client.adapters.training_folder import CHECKPOINT, TrainingFolder
from severable_client.errors import AbandonedError, DiskFullError
from severable_client.sitting import Custom, Figures, Sitting
from severable_client.training import read_recipe
from severable_diffusion import network
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.training import Trainer, TrainingProgress

X_NCHW = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


class Heard:
    """Figures in a list."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.values: dict[int, dict[str, float]] = {}
        self.pictures: list[int] = []
        self.closed = False

    def begin(self, step: int) -> None:
        self.begun.append(step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.values[step] = values

    def picture(self, step: int, image: Image.Image) -> None:  # noqa: ARG002
        self.pictures.append(step)

    def close(self) -> None:
        self.closed = True


def trainer_of(plan: ExecutionPlan | None = None, **training: float) -> Trainer:
    return Trainer(read_recipe(tiny_recipe(**training)), X_NCHW, 7, plan=plan or ExecutionPlan())


def custom_of(folder: Path, figures: Sequence[Figures] = (), said: list[str] | None = None) -> Custom:
    """A sitting with a clock that goes one second forward whenever it is read, kept once a minute."""
    seconds = count()
    lines = [] if said is None else said
    return Custom(
        store=TrainingFolder(folder),
        figures=figures,
        checkpoint_s=60.0,
        grid_s=0.0,
        clock=lambda: float(next(seconds)),
        asked_to_end=lambda: False,
        on_progress=lambda _: None,
        on_resumed=lambda *_: None,
        say=lines.append,
    )


def ends_at(step: int) -> Callable[[TrainingProgress], None]:
    def end(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise AbandonedError("the daemon has ended")

    return end


def shard_of(trainer: Trainer) -> bytes:
    return network.dump(trainer.shard().state_dict)


@pytest.fixture(scope="module", name="whole")
def one_sitting() -> bytes:
    return network.dump(trainer_of().run().state_dict)


def test_a_sitting_that_ends_is_taken_up_where_it_was_and_gives_the_same_bytes(tmp_path: Path, whole: bytes) -> None:
    with pytest.raises(AbandonedError):
        Sitting(trainer_of(), replace(custom_of(tmp_path), on_progress=ends_at(4))).run()
    resumed: list[tuple[int, int, float]] = []
    steps: list[int] = []
    again = replace(
        custom_of(tmp_path),
        on_resumed=lambda *what: resumed.append(what),
        on_progress=lambda progress: steps.append(progress.step),
    )
    shard = Sitting(trainer_of(), again).run()
    assert steps == [5, 6]
    ((step, of, seconds),) = resumed
    assert (step, of) == (4, 6)
    assert seconds > 0
    assert network.dump(shard.state_dict) == whole


def test_a_sitting_that_is_asked_to_end_keeps_the_step_that_it_was_at(tmp_path: Path) -> None:
    with pytest.raises(AbandonedError, match="asked to end after step 1"):
        Sitting(trainer_of(), replace(custom_of(tmp_path), asked_to_end=lambda: True)).run()
    trainer = trainer_of()
    assert TrainingFolder(tmp_path).take_up(trainer) is not None
    assert trainer.step == 1


def test_pictures_are_drawn_now_and_then_and_disturb_nothing(tmp_path: Path, whole: bytes) -> None:
    heard = Heard()
    shard = Sitting(trainer_of(), replace(custom_of(tmp_path, [heard]), grid_s=1.0)).run()
    assert network.dump(shard.state_dict) == whole
    names = [path.name for path in sorted(tmp_path.glob("samples-*.png"))]
    assert names == [f"samples-{step:08d}.png" for step in heard.pictures]
    assert heard.pictures[-1] == 6
    with Image.open(tmp_path / names[-1]) as picture:
        assert picture.format == "PNG"
    assert (tmp_path / names[-1]).stat().st_mode & 0o077 == 0


def test_a_damaged_checkpoint_is_told_in_one_line_and_training_begins_anew(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"\x10" * 500)
    said: list[str] = []
    shard = Sitting(trainer_of(), custom_of(tmp_path, said=said)).run()
    assert network.dump(shard.state_dict) == whole
    assert len(said) == 1
    assert "is not taken up" in said[0]
    assert str(tmp_path / CHECKPOINT) in said[0]
    assert "\n" not in said[0]


def test_figures_are_told_with_pace_learning_rate_and_held_out_loss(tmp_path: Path) -> None:
    heard = Heard()
    trainer = trainer_of(held_out=0.2, check_every=3)
    Sitting(trainer, custom_of(tmp_path, [heard])).run()
    assert heard.begun == [0]
    assert heard.closed
    assert heard.values.keys() == {1, 2, 3, 4, 5, 6}
    assert heard.values[1].keys() == {"loss", "learning_rate", "images_per_second"}
    assert heard.values[3].keys() == {"loss", "learning_rate", "images_per_second", "held_out_loss"}
    assert heard.values[2]["loss"] == trainer.losses[1]
    assert heard.values[2]["images_per_second"] == pytest.approx(8.0 / 1.0)


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path: Path) -> None:
    kept: list[int] = []

    class Counted(TrainingFolder):
        def keep(self, trainer: Trainer, seconds: float) -> None:
            kept.append(trainer.step)
            super().keep(trainer, seconds)

    Sitting(trainer_of(), replace(custom_of(tmp_path), store=Counted(tmp_path), checkpoint_s=2.5)).run()
    assert kept[0] > 1
    assert kept[-1] == 6
    assert kept == sorted(kept)
    assert len(kept) > 2


class SmallDevice(ExecutionPlan):
    """A device that holds four images at once."""

    def image(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        if len(x_NCHW) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().image(x_NCHW)


def test_backing_off_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    Sitting(trainer_of(SmallDevice()), custom_of(tmp_path, said=said)).run()
    assert said == ["the device's memory ran out at step 1; going on in 2 parts a batch"]


def test_a_disk_that_is_full_ends_a_sitting_and_leaves_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    with pytest.raises(AbandonedError):
        Sitting(trainer_of(), replace(custom_of(tmp_path), on_progress=ends_at(2))).run()
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("severable_diffusion.checkpoint.os.fsync", full)
    with pytest.raises(DiskFullError, match=r"checkpoint\.safetensors cannot be written: the disk is full"):
        Sitting(trainer_of(), replace(custom_of(tmp_path), checkpoint_s=0.0)).run()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
