import math

import pytest
import torch
from diffusion.recipes import tiny

from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank
from severable_diffusion.budget import planned_steps, rate_factor
from severable_diffusion.errors import CompositeError
from severable_diffusion.parametrization import Parametrization
from severable_diffusion.recipe import Recipe
from severable_diffusion.sampler import scheduler_for, set_steps, step
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.training import Trainer, TrainingProgress, train


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    first, second, other = (network.dump(train(recipe, images_NCHW, seed=s).state_dict) for s in (1, 1, 2))
    assert first == second
    assert first != other


def test_progress_counts_every_step(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    told: list[TrainingProgress] = []
    shard = train(recipe, images_NCHW, seed=0, on_progress=told.append)
    assert [progress.step for progress in told] == [1, 2, 3, 4, 5, 6]
    assert {progress.steps for progress in told} == {6}
    assert shard.steps == 6


def test_the_budget_is_epochs_or_steps_whichever_ends_first(recipe: Recipe) -> None:
    assert planned_steps(recipe.training, images=40) == 6
    assert planned_steps(tiny(training={"epochs": 1}).training, images=40) == 5


@pytest.mark.parametrize("kind", ["eps", "v", "x0", "flow"])
def test_training_lowers_the_loss_in_every_parametrization(kind: str) -> None:
    recipe = tiny(parametrization=kind, training={"max_steps": 24, "warmup_steps": 5, "batch": 16})
    flat_NCHW = torch.full((8, 1, 8, 8), 0.5)
    trainer = Trainer(recipe, flat_NCHW, seed=0)
    trainer.run()
    assert sum(trainer.losses[-6:]) < 0.7 * sum(trainer.losses[:6])


def test_what_leaves_is_the_average_not_the_last_weights(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    trainer = Trainer(recipe, images_NCHW, seed=0)
    shard = trainer.run()
    assert not torch.equal(shard.state_dict["conv_in.weight"], trainer.model.state_dict()["conv_in.weight"])
    network.load(recipe, network.dump(shard.state_dict))


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    factors = [rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_a_bank_depends_on_its_shard_alone(recipe: Recipe, images_NCHW: torch.Tensor) -> None:
    net = network.load(recipe, network.dump(train(recipe, images_NCHW, seed=0).state_dict))
    told: list[tuple[int, int]] = []
    bank = draw_bank(net, recipe, seed_material="sha256:aa", on_progress=lambda n, of: told.append((n, of)))
    torch.manual_seed(99)  # the global state has no say
    assert draw_bank(net, recipe, seed_material="sha256:aa").content() == bank.content()
    assert draw_bank(net, recipe, seed_material="sha256:bb").content() != bank.content()
    assert bank.x_NCHW.shape == bank.state_NCHW.shape == (16, 1, 8, 8)
    assert bank.x_NCHW.abs().max() <= 1.0
    assert told == [(16, 16)]


def test_a_bank_keeps_states_of_the_trajectories_that_ended_in_its_images(
    recipe: Recipe, images_NCHW: torch.Tensor
) -> None:
    net = network.load(recipe, network.dump(train(recipe, images_NCHW, seed=0).state_dict))
    bank = draw_bank(net, recipe, seed_material="sha256:aa")
    schedule, scheduler = NoiseSchedule.of(recipe.process), scheduler_for(recipe)
    times = set_steps(scheduler, recipe.bank.steps)
    assert set(bank.time_N.tolist()) <= set(times)
    assert bool((schedule.log_snr_T[bank.time_N] >= -2.0 * math.log(recipe.router.noise_high)).all())
    for x_1CHW, state_1CHW, time in zip(bank.x_NCHW[:, None], bank.state_NCHW[:, None], bank.time_N, strict=True):
        moved_1CHW = state_1CHW
        for index in range(times.index(int(time)), len(times)):
            with torch.no_grad():
                said_1CHW = net(moved_1CHW, times[index], return_dict=False)[0]
            source = Parametrization(recipe.parametrization)
            moved_1CHW = step(scheduler, said_1CHW, index, moved_1CHW, source=source, schedule=schedule)
        assert torch.allclose(moved_1CHW.clamp(-1.0, 1.0), x_1CHW, atol=1e-4)


def test_a_kept_bank_with_other_tensors_is_refused(images_NCHW: torch.Tensor) -> None:
    with pytest.raises(CompositeError, match="draw it again"):
        Bank.from_tensors({"x_NCHW": images_NCHW})
