import shutil

import pytest
import torch
from diffusion.recipes import tiny

from severable_diffusion import environment, network
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer, train

NARROW = ExecutionPlan(autocast=torch.bfloat16, channels_last=True)


def test_the_default_plan_is_the_recorded_environment() -> None:
    assert DEFAULT.describe() == environment.describe()


def test_another_plan_says_what_is_other_about_it() -> None:
    facts = ExecutionPlan(autocast=torch.bfloat16, channels_last=True, threads=3).describe()
    assert facts == environment.describe() | {
        "dtype": "float32, autocast bfloat16",
        "channels_last": "True",
        "threads": "3",
    }


def test_a_plan_repeats_its_bytes_and_does_not_give_the_defaults(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    first, second = (network.dump(train(recipe, images_NCHW, seed=1, plan=NARROW).state_dict) for _ in range(2))
    assert first == second
    assert first != network.dump(train(recipe, images_NCHW, seed=1).state_dict)


def test_a_plan_draws_the_same_batches_and_ends_near_the_same_loss(images_NCHW: torch.Tensor) -> None:
    recipe = tiny(training={"max_steps": 12, "epochs": 100})
    plain, narrow = Trainer(recipe, images_NCHW, 0), Trainer(recipe, images_NCHW, 0, plan=NARROW)
    plain.run()
    narrow.run()
    assert torch.equal(plain.generator.get_state(), narrow.generator.get_state())
    assert narrow.losses == pytest.approx(plain.losses, rel=0.05)
    assert narrow.losses != plain.losses


def test_what_leaves_is_plain_float32_whatever_the_plan(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    tensors = train(recipe, images_NCHW, seed=0, plan=NARROW).state_dict
    assert all(tensor.dtype is torch.float32 and tensor.is_contiguous() for tensor in tensors.values())
    network.load(recipe, network.dump(tensors))


def test_a_plans_threads_hold_inside_and_end_outside() -> None:
    with ExecutionPlan(threads=2).running():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


def test_a_compiled_plan_trains_and_names_the_same_network(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    with torch.compiler.set_stance("force_eager"):  # the wrapper as it is, without what the compiler makes of it
        assert_trains_the_same_network(recipe, images_NCHW)


@pytest.mark.soak  # the compiler takes one to three minutes
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on the CPU needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_what_the_compiler_makes_of_it_trains_the_same_network(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    assert_trains_the_same_network(recipe, images_NCHW)


def assert_trains_the_same_network(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    plain, compiled = Trainer(recipe, images_NCHW, 0), Trainer(recipe, images_NCHW, 0, plan=ExecutionPlan(compile=True))
    plain.run()
    compiled.run()
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-3)
    assert compiled.ema.keys() == plain.ema.keys()
