"""A batch in parts: the same gradient, and what happens when memory runs out."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from diffusion.recipes import tiny

from severable_diffusion import checkpoint
from severable_diffusion.errors import MemoryShortError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
RECIPE = tiny(training={"max_steps": 8})
LABELLED = tiny(training={"max_steps": 8}, conditions={"labels": ["round", "square"]})


def gradients(recipe: Recipe, accumulate: int) -> tuple[dict[str, torch.Tensor], float]:
    label_N = torch.arange(30) % 2 if recipe.conditions else None
    trainer = Trainer(recipe, X_NCHW, 3, label_N, plan=ExecutionPlan(accumulate=accumulate))
    batch = trainer.batches.take()
    loss = trainer._backward(batch)
    found = {name: one.grad for name, one in trainer.model.named_parameters() if one.grad is not None}
    return found, loss.item()


@pytest.mark.parametrize("accumulate", [2, 3, 8, 50])
@pytest.mark.parametrize("recipe", [RECIPE, LABELLED], ids=["plain", "labelled"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole_batch(recipe: Recipe, accumulate: int) -> None:
    whole, loss = gradients(recipe, 1)
    parts, loss_in_parts = gradients(recipe, accumulate)
    assert loss_in_parts == pytest.approx(loss, rel=1e-5)
    assert parts.keys() == whole.keys()
    for name, gradient in whole.items():
        scale = float(gradient.abs().max())
        assert float((parts[name] - gradient).abs().max()) <= 1e-4 * scale + 1e-7, name


def test_a_plan_in_parts_says_so() -> None:
    assert ExecutionPlan(accumulate=4).describe()["accumulate"] == "4"
    assert "accumulate" not in ExecutionPlan().describe()


@dataclass(frozen=True, kw_only=True)
class SmallDevice(ExecutionPlan):
    """A device that holds so many images at once from a certain call on; beyond, it raises what CUDA raises."""

    holds: list[int] = field(default_factory=lambda: [8])

    def image(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        if len(x_NCHW) > self.holds[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().image(x_NCHW)


def test_when_memory_runs_out_the_same_batch_goes_on_in_smaller_parts_and_that_is_said_once() -> None:
    plan = SmallDevice(holds=[8])
    trainer = Trainer(RECIPE, X_NCHW, 3, plan=plan)
    calm = Trainer(RECIPE, X_NCHW, 3)
    notes = [trainer.advance().note, calm.advance().note]
    plan.holds[0] = 4
    notes += [trainer.advance().note for _ in range(3)]
    assert notes == ["", "", "the device's memory ran out at step 2; going on in 2 parts a batch", "", ""]
    for _ in range(3):
        calm.advance()
    assert trainer.losses == pytest.approx(calm.losses, rel=1e-3)
    assert torch.equal(trainer.generator.get_state(), calm.generator.get_state())


def test_the_second_time_that_memory_runs_out_is_an_error_of_one_line() -> None:
    plan = SmallDevice(holds=[4])
    trainer = Trainer(RECIPE, X_NCHW, 3, plan=plan)
    trainer.advance()
    plan.holds[0] = 2
    with pytest.raises(MemoryShortError, match=r"2 parts to a batch of 8, a second time") as caught:
        trainer.advance()
    assert "\n" not in str(caught.value)
    assert trainer.step == 1


def test_an_image_that_does_not_fit_alone_is_an_error_at_once() -> None:
    trainer = Trainer(tiny(training={"batch": 1}), X_NCHW, 3, plan=SmallDevice(holds=[0]))
    with pytest.raises(MemoryShortError, match="1 parts to a batch of 1;"):
        trainer.advance()


def test_a_look_at_held_out_images_backs_off_too() -> None:
    recipe = tiny(training={"max_steps": 4, "held_out": 0.5, "check_every": 2})
    plan = SmallDevice(holds=[8])
    trainer = Trainer(recipe, X_NCHW, 3, plan=plan)
    trainer.advance()
    plan.holds[0] = 7
    assert "ran out at step 2" in trainer.advance().note


def test_what_was_backed_off_to_is_kept_in_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    first, plan = Trainer(RECIPE, X_NCHW, 3, plan=SmallDevice(holds=[4])), SmallDevice(holds=[4])
    first.advance()
    checkpoint.write(path, first)
    again = Trainer(RECIPE, X_NCHW, 3, plan=plan)
    checkpoint.restore(path, again)
    assert (again.parts.accumulate, again.parts.backed_off) == (2, True)
    first.run()
    assert again.advance().note == ""
    again.run()
    assert again.losses == first.losses
