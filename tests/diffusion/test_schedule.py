import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusion.recipes import tiny
from hypothesis import given
from hypothesis import strategies as st

from severable_diffusion.recipe import Process
from severable_diffusion.sampler import scheduler_for, set_steps
from severable_diffusion.schedule import NoiseSchedule

FLOW = {"process": {"schedule": "flow"}, "sampler": {"scheduler": "euler"}}


@pytest.mark.parametrize("steps", [50, 1000])
def test_the_cosine_schedule_is_that_of_diffusers(steps: int) -> None:
    theirs = DDPMScheduler(num_train_timesteps=steps, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    ours = NoiseSchedule.of(Process("cosine", steps))
    torch.testing.assert_close(ours.alpha_T**2, theirs, rtol=1e-4, atol=1e-7)


def test_the_linear_schedule_is_that_of_diffusers_at_1000_steps() -> None:
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    ours = NoiseSchedule.of(Process("linear", 1000))
    torch.testing.assert_close(ours.alpha_T**2, theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [100, 1000])
def test_the_sampler_has_the_noise_levels_of_the_schedule(schedule: str, steps: int) -> None:
    recipe = tiny(process={"schedule": schedule, "steps": steps})
    scheduler = scheduler_for(recipe)
    assert isinstance(scheduler, DDIMScheduler)
    torch.testing.assert_close(
        NoiseSchedule.of(recipe.process).alpha_T ** 2, scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_noising_is_that_of_diffusers_on_the_same_noise(schedule: str) -> None:
    recipe = tiny(process={"schedule": schedule, "steps": 1000})
    x0, eps = torch.randn(2, 9, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    t_N = torch.linspace(0, 999, 9).long()
    ours = NoiseSchedule.of(recipe.process).add_noise(x0, eps, t_N)
    torch.testing.assert_close(ours, scheduler_for(recipe).add_noise(x0, eps, t_N), rtol=1e-4, atol=1e-5)


def test_flow_noising_is_that_of_diffusers_on_the_same_noise() -> None:
    recipe = tiny(**FLOW)
    scheduler = scheduler_for(recipe)
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    times = set_steps(scheduler, 5)
    assert times == [100, 80, 60, 40, 20]
    x0, eps = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    ours = NoiseSchedule.of(recipe.process).add_noise(x0, eps, torch.tensor(times))
    torch.testing.assert_close(ours, scheduler.scale_noise(x0, scheduler.timesteps, eps))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "flow"])
def test_noise_rises_and_signal_falls_from_nothing_to_nearly_all(schedule: str) -> None:
    ours = NoiseSchedule.of(Process(schedule, 1000))
    assert bool((ours.alpha_T.diff() < 0).all())
    assert bool((ours.log_snr_T.diff() <= 0).all())
    assert ours.alpha_T[ours.first] > 0.99
    assert ours.alpha_T[-1] < 0.01
    assert bool(ours.log_snr_T.isfinite().all())


@given(log_snr=st.floats(-9.0, 9.0), schedule=st.sampled_from(["cosine", "linear", "flow"]))
def test_the_time_of_a_noise_level_is_the_nearest_there_is(log_snr: float, schedule: str) -> None:
    ours = NoiseSchedule.of(Process(schedule, 200))
    found = int(ours.time_of(torch.tensor([log_snr]))[0])
    gaps_T = (ours.log_snr_T - log_snr).abs()[ours.first :]
    assert found >= ours.first
    assert gaps_T[found - ours.first] <= gaps_T.min() + 1e-6
