"""What a GPU must do as a processor does. Skipped where there is none; `make test` on a machine with one runs it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusion.recipes import tiny, tiny_dit

from severable_diffusion import checkpoint, network
from severable_diffusion.errors import MemoryShortError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.recipe import Recipe
from severable_diffusion.samples import sample_grid
from severable_diffusion.training import Trainer, TrainingProgress

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

GPU = ExecutionPlan(device="cuda")
PLANS = {
    "float32": GPU,
    "bfloat16": replace(GPU, autocast=torch.bfloat16),
    "float16": replace(GPU, autocast=torch.float16),
    "channels_last": replace(GPU, autocast=torch.bfloat16, channels_last=True),
    "in_parts": replace(GPU, accumulate=3),
}
ATTENTIVE = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "mid_block": True,
    "mid_attention": True,
}
BUDGET = {"max_steps": 12, "epochs": 100, "held_out": 0.2, "check_every": 5, "patience": 9}
RECIPES = {"unet": tiny(architecture=ATTENTIVE, training=BUDGET), "dit": tiny_dit(training=BUDGET)}
X_NCHW = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
WIDE = tiny(
    image={"size": 32},
    architecture={"block_out_channels": [64]},
    training={"batch": 512, "max_steps": 3, "epochs": 9},
)
WIDE_NCHW = torch.rand(512, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def trained(recipe: Recipe, plan: ExecutionPlan) -> bytes:
    return network.dump(Trainer(recipe, X_NCHW, 5, plan=plan).run().state_dict)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", RECIPES)
def test_a_training_gives_the_same_bytes_twice_and_where_it_was_interrupted(
    kind: str, plan: str, tmp_path: Path
) -> None:
    recipe, path = RECIPES[kind], tmp_path / "checkpoint"
    whole = trained(recipe, PLANS[plan])
    assert trained(recipe, PLANS[plan]) == whole
    for interrupted_after in (1, 6, 11):
        first, second = (Trainer(recipe, X_NCHW, 5, plan=PLANS[plan]) for _ in range(2))
        for _ in range(interrupted_after):
            first.advance()
        checkpoint.write(path, first)
        checkpoint.restore(path, second)
        assert network.dump(second.run().state_dict) == whole, f"after step {interrupted_after}"


@pytest.mark.parametrize("kind", RECIPES)
def test_a_training_loses_what_it_does_on_a_processor_up_to_rounding(kind: str) -> None:
    on_cpu, on_gpu = Trainer(RECIPES[kind], X_NCHW, 5), Trainer(RECIPES[kind], X_NCHW, 5, plan=GPU)
    on_cpu.run()
    on_gpu.run()
    assert on_gpu.losses == pytest.approx(on_cpu.losses, rel=0.02)


@pytest.mark.parametrize("kind", RECIPES)
def test_a_network_placed_there_answers_on_the_processor_as_one_that_stayed(kind: str) -> None:
    recipe = RECIPES[kind]
    stayed, placed = (network.load(recipe, network.dump(network.build_seeded(recipe, 3).state_dict())) for _ in "ab")
    GPU.place(placed)
    asked = GPU.asked_on_the_cpu(placed)
    for time in (3, 2.5, torch.arange(1, 7)):
        own, other = network.predict(stayed, X_NCHW[:6], time), network.predict(asked, X_NCHW[:6], time)
        assert other.device.type == "cpu"
        assert torch.allclose(own, other, atol=5e-3)


def test_a_picture_of_samples_is_drawn_there_and_leaves_the_training_as_it_was() -> None:
    looked_at, left_alone = Trainer(RECIPES["unet"], X_NCHW, 5, plan=GPU), Trainer(RECIPES["unet"], X_NCHW, 5, plan=GPU)
    looked_at.advance()
    assert sample_grid(looked_at).size[0] > 0
    left_alone.advance()
    assert network.dump(looked_at.run().state_dict) == network.dump(left_alone.run().state_dict)


@contextmanager
def memory_of(size: int) -> Iterator[None]:
    """Inside, this process gets no more of the GPU than so many bytes."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def train_with_less_and_less(most: int, notes: list[list[str]], losses: list[list[float]]) -> None:
    """Train with 95, 90, 85... per cent of some memory, and note what the steps told."""
    for percent in range(95, 0, -5):
        with memory_of(most * percent // 100):
            steps = list(each_step(Trainer(WIDE, WIDE_NCHW, 5, plan=GPU)))
        notes.append([step.note for step in steps])
        losses.append([step.loss for step in steps])


def test_the_less_memory_there_is_a_training_runs_as_it_is_then_in_halves_and_then_ends_with_one_line() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole = [step.loss for step in each_step(Trainer(WIDE, WIDE_NCHW, 5, plan=GPU))]
    notes, losses = list[list[str]](), list[list[float]]()
    with pytest.raises(MemoryShortError, match="ran out with 2 parts to a batch of 512, a second time"):
        train_with_less_and_less(torch.cuda.max_memory_reserved(), notes, losses)
    assert all(found == pytest.approx(whole, rel=1e-3) for found in losses)
    backed_off = [any(told) for told in notes]
    assert backed_off == sorted(backed_off)
    halved = ["the device's memory ran out at step 1; going on in 2 parts a batch", "", ""]
    assert notes[-1] == halved
    assert {tuple(told) for told in notes} <= {("", "", ""), tuple(halved)}


def each_step(trainer: Trainer) -> Iterator[TrainingProgress]:
    while not trainer.done:
        yield trainer.advance()
