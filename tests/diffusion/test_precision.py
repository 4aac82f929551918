"""In which type a training multiplies, and what float16 needs beside."""

from pathlib import Path

import pytest
import torch
from diffusion.recipes import tiny

from severable_diffusion import checkpoint, network
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.precision import TYPES, word_for
from severable_diffusion.training import Trainer

X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
RECIPE = tiny(training={"max_steps": 8})
HALF = ExecutionPlan(autocast=torch.float16)


@pytest.mark.parametrize(
    ("precision", "device", "capability", "word"),
    [
        ("auto", "cpu", (9, 0), "float32"),
        ("auto", "cuda", (7, 5), "float32"),
        ("auto", "cuda:1", (8, 0), "bf16"),
        ("auto", "cuda", (9, 0), "bf16"),
        ("float32", "cuda", (9, 0), "float32"),
        ("bf16", "cpu", (0, 0), "bf16"),
        ("fp16", "cuda", (7, 0), "fp16"),
    ],
)
def test_auto_is_bfloat16_where_a_gpu_has_it_and_float32_elsewhere(
    precision: str, device: str, capability: tuple[int, int], word: str
) -> None:
    assert word_for(precision, device, lambda _: capability) == word


@pytest.mark.parametrize("word", ["bf16", "fp16"])
def test_a_narrow_training_loses_what_a_wide_one_does_up_to_its_rounding(word: str) -> None:
    wide, narrow = Trainer(RECIPE, X_NCHW, 3), Trainer(RECIPE, X_NCHW, 3, plan=ExecutionPlan(autocast=TYPES[word]))
    wide.run()
    shard = narrow.run()
    assert narrow.losses == pytest.approx(wide.losses, rel=0.05)
    assert narrow.losses != wide.losses
    assert {tensor.dtype for tensor in shard.state_dict.values()} == {torch.float32}
    network.load(RECIPE, network.dump(shard.state_dict))


def test_the_gradient_of_a_float16_training_is_the_wide_ones_once_it_is_scaled_back() -> None:
    wide, narrow = Trainer(RECIPE, X_NCHW, 3), Trainer(RECIPE, X_NCHW, 3, plan=HALF)
    wide._backward(wide.batches.take())
    narrow._backward(narrow.batches.take())
    assert narrow.scaler is not None
    narrow.scaler.unscale_(narrow.optimizer)
    own = torch.cat([one.grad.flatten() for one in wide._parameters if one.grad is not None])
    other = torch.cat([one.grad.flatten() for one in narrow._parameters if one.grad is not None])
    assert float((own - other).norm() / own.norm()) < 0.02


def test_a_step_whose_gradients_are_not_finite_is_left_out_and_the_scale_halved() -> None:
    trainer = Trainer(RECIPE, X_NCHW, 3, plan=HALF)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = network.dump(trainer.model.state_dict())
    progress = trainer.advance()
    assert network.dump(trainer.model.state_dict()) == before
    assert trainer.scaler.get_scale() == 2.0**59
    assert progress.loss < 10.0  # people are told the loss, not the scaled one


def test_a_float16_training_goes_on_with_the_scale_it_had_to_the_same_bytes(tmp_path: Path) -> None:
    def started() -> Trainer:
        trainer = Trainer(RECIPE, X_NCHW, 3, plan=HALF)
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        return trainer

    whole = started()
    whole.run()
    first = started()
    for _ in range(4):
        first.advance()
    checkpoint.write(tmp_path / "c", first)
    again = started()
    checkpoint.restore(tmp_path / "c", again)
    assert again.scaler is not None
    assert again.scaler.get_scale() == 2.0**11
    assert network.dump(again.run().state_dict) == network.dump(whole.shard().state_dict)


def test_a_training_kept_in_one_precision_can_go_on_in_another(tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, X_NCHW, 3)
    trainer.advance()
    checkpoint.write(tmp_path / "c", trainer)
    narrow = Trainer(RECIPE, X_NCHW, 3, plan=HALF)
    checkpoint.restore(tmp_path / "c", narrow)
    narrow.run()
    checkpoint.write(tmp_path / "d", narrow)
    wide = Trainer(RECIPE, X_NCHW, 3)
    checkpoint.restore(tmp_path / "d", wide)
    assert wide.done
