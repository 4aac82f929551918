"""A training that is kept, ended and taken up again ends with the bytes of one that never was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion.recipes import tiny
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from tools import run_python

from severable_diffusion import checkpoint, network, training_state
from severable_diffusion.errors import CheckpointError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

STEPS = 9
PLAIN = tiny(training={"max_steps": STEPS})
LABELLED = tiny(training={"max_steps": STEPS}, conditions={"labels": ["round", "square"], "drop": 0.3})
WATCHED = tiny(training={"max_steps": STEPS, "held_out": 0.2, "check_every": 2, "patience": 2, "learning_rate": 0.2})
NARROW = ExecutionPlan(autocast=torch.bfloat16, channels_last=True, accumulate=2)
KINDS = {"plain": PLAIN, "labelled": LABELLED, "watched": WATCHED}

X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def trainer_of(recipe: Recipe, seed: int = 5, plan: ExecutionPlan | None = None) -> Trainer:
    label_N = torch.arange(len(X_NCHW)) % 2 if recipe.conditions else None
    return Trainer(recipe, X_NCHW, seed, label_N, plan=plan or ExecutionPlan())


def content(trainer: Trainer) -> dict[str, Any]:
    """All of a training's state, and what it would ship."""
    tensors = {name: tensor.numpy().tobytes() for name, tensor in training_state.tensors_of(trainer).items()}
    return {"shard": network.dump(trainer.shard().state_dict)} | tensors | training_state.facts_of(trainer)


def uninterrupted(recipe: Recipe, plan: ExecutionPlan | None = None) -> dict[str, Any]:
    trainer = trainer_of(recipe, plan=plan)
    trainer.run()
    return content(trainer)


@pytest.fixture(scope="module", name="whole")
def uninterrupted_trainings() -> dict[str, dict[str, Any]]:
    return {kind: uninterrupted(recipe) for kind, recipe in KINDS.items()}


@given(kind=st.sampled_from(sorted(KINDS)), stops=st.sets(st.integers(0, STEPS), max_size=3))
def test_a_training_resumed_at_any_steps_ends_with_the_bytes_of_one_that_was_not_interrupted(
    kind: str, stops: set[int], whole: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("kept") / "checkpoint.safetensors"
    trainer = trainer_of(KINDS[kind])
    while trainer.step in stops or not trainer.done:
        if trainer.step in stops:
            stops = stops - {trainer.step}
            checkpoint.write(path, trainer, seconds=1.5)
            trainer = trainer_of(KINDS[kind])
            assert checkpoint.restore(path, trainer) == 1.5
        else:
            trainer.advance()
    assert content(trainer) == whole[kind]


def test_a_plan_with_another_memory_layout_resumes_to_its_own_bytes(tmp_path: Path) -> None:
    first = trainer_of(PLAIN, plan=NARROW)
    for _ in range(4):
        first.advance()
    checkpoint.write(tmp_path / "c", first)
    again = trainer_of(PLAIN, plan=NARROW)
    checkpoint.restore(tmp_path / "c", again)
    again.run()
    assert content(again) == uninterrupted(PLAIN, NARROW)


@pytest.fixture(scope="module", name="kept")
def kept_after_three_steps(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("kept") / "checkpoint.safetensors"
    trainer = trainer_of(PLAIN)
    for _ in range(3):
        trainer.advance()
    checkpoint.write(path, trainer)
    return path.read_bytes()


@pytest.fixture(scope="module", name="fresh")
def fresh_trainer() -> Trainer:
    return trainer_of(PLAIN)


def refused(data: bytes, trainer: Trainer, folder: Path) -> str:
    """The one line with which a file is refused; the trainer must be as it was."""
    path = folder / "checkpoint.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.restore(path, trainer)
    assert trainer.step == 0
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(data=st.data())
def test_a_file_with_one_other_byte_is_refused_wherever_it_is(
    data: st.DataObject, kept: bytes, fresh: Trainer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = 8 + int.from_bytes(kept[:8], "little")
    place = data.draw(st.integers(0, header - 1) | st.integers(header, len(kept) - 1))
    other = kept[place] ^ data.draw(st.integers(1, 255))
    refused(kept[:place] + bytes([other]) + kept[place + 1 :], fresh, tmp_path_factory.mktemp("altered"))


@given(data=st.data())
def test_a_file_that_was_cut_short_is_refused(
    data: st.DataObject, kept: bytes, fresh: Trainer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = data.draw(st.integers(0, 40) | st.integers(0, len(kept) - 1))
    refused(kept[:size], fresh, tmp_path_factory.mktemp("cut"))


def test_a_longer_file_a_shard_and_a_missing_file_are_refused(kept: bytes, fresh: Trainer, tmp_path: Path) -> None:
    refused(kept + b"\0", fresh, tmp_path)
    assert "checkpoint of a training" in refused(network.dump(fresh.ema), fresh, tmp_path)
    with pytest.raises(CheckpointError, match="is not there"):
        checkpoint.restore(tmp_path / "nowhere", fresh)


def test_another_recipe_seed_or_number_of_images_is_refused(kept: bytes, tmp_path: Path) -> None:
    others = [
        trainer_of(tiny(training={"max_steps": STEPS, "batch": 7})),
        trainer_of(PLAIN, seed=6),
        Trainer(PLAIN, X_NCHW[:29], 5),
    ]
    for other in others:
        assert "another recipe, seed or set of images" in refused(kept, other, tmp_path)


def test_a_checkpoint_is_plain_safetensors_that_others_read(kept: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").write_bytes(kept)
    with safe_open(tmp_path / "c.safetensors", framework="pt") as opened:
        assert opened.metadata()["format"] == checkpoint.FORMAT
        assert json.loads(opened.metadata()["facts"])["step"] == 3
        assert len(opened.get_tensor("losses")) == 3
        assert not any("seed" in name for name in opened.keys())  # noqa: SIM118  # no mapping


def test_only_its_owner_may_read_a_checkpoint_and_no_part_is_left_beside_it(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "c", trainer_of(PLAIN))
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.iterdir()] == ["c"]


LIMITED = """
import pathlib, resource, sys
from diffusion import test_checkpoint as here
from severable_diffusion import checkpoint
path = pathlib.Path(sys.argv[1])
trainer = here.trainer_of(here.PLAIN)
checkpoint.write(path, trainer)
trainer.advance()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    checkpoint.write(path, trainer)
except OSError as error:
    print("refused", error.errno)
"""


def test_a_write_that_the_system_refuses_midway_leaves_the_former_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    done = run_python(LIMITED, str(path))
    assert done.stdout.startswith("refused"), done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["c"]
    trainer = trainer_of(PLAIN)
    checkpoint.restore(path, trainer)
    assert trainer.step == 0
