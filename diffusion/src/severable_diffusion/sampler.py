"""The reverse process: which diffusers scheduler a recipe means, and the loop that draws images from one network.

The scheduler does the step, this module only says what it is to be given. DDIM (Song et al., arXiv 2010.02502, eta 0)
serves cosine and linear, Euler's method serves flow. Shapes: N, C, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from severable_diffusion.diffusers_parts import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from severable_diffusion.network import predict
from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.schedule import NoiseSchedule, linear_ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from severable_diffusion.recipe import Recipe

Scheduler: TypeAlias = DDIMScheduler | FlowMatchEulerDiscreteScheduler

DDIM_NAMES = {
    Parametrization.EPS: "epsilon",
    Parametrization.V: "v_prediction",
    Parametrization.X0: "sample",
    Parametrization.FLOW: "v_prediction",  # DDIM has no name for a velocity, so it is converted
}


def scheduler_for(recipe: Recipe) -> Scheduler:
    """Return the recipe's scheduler; its noise levels are those of `NoiseSchedule.of(recipe.process)`."""
    steps = recipe.process.steps
    if recipe.process.schedule == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=1.0)
    shape: dict[str, object] = {"beta_schedule": "squaredcos_cap_v2"}
    if recipe.process.schedule == "linear":
        low, high = linear_ends(steps)
        shape = {"beta_schedule": "linear", "beta_start": low, "beta_end": high}
    return DDIMScheduler(
        num_train_timesteps=steps,
        prediction_type=DDIM_NAMES[Parametrization(recipe.parametrization)],
        timestep_spacing="trailing",  # starts at pure noise (Lin et al., arXiv 2305.08891)
        clip_sample=True,
        set_alpha_to_one=True,
        **shape,
    )


def is_own(scheduler: object, schedule: NoiseSchedule) -> bool:
    """Whether a scheduler stands on the recipe's own levels at whole times, as `scheduler_for` makes it."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        plain = scheduler.config.shift == 1.0 and not scheduler.config.use_dynamic_shifting
        return bool(plain and schedule.first == 1 and scheduler.config.num_train_timesteps == schedule.last)
    if not isinstance(scheduler, DDIMScheduler) or schedule.first == 1:
        return False
    kept_T = scheduler.alphas_cumprod
    return len(kept_T) == len(schedule.alpha_T) and torch.allclose(kept_T, schedule.alpha_T**2, atol=1e-6)


def set_steps(scheduler: Scheduler, steps: int, device: torch.device | str = "cpu") -> list[int]:
    """Prepare a scheduler for `steps` steps and return the times it will visit, noisiest first."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        total = scheduler.config.num_train_timesteps
        # whole times only, so that each one is an entry of the schedule's tables
        sigmas = [round(total * (steps - i) / steps) / total for i in range(steps)]
        scheduler.set_timesteps(sigmas=sigmas, device=device)
    else:
        scheduler.set_timesteps(steps, device=device)
    return [round(float(t)) for t in scheduler.timesteps]


def wanted_by(scheduler: Scheduler) -> Parametrization:
    """Return the parametrization in which the scheduler wants its model output."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return Parametrization.FLOW
    names = {"epsilon": Parametrization.EPS, "v_prediction": Parametrization.V, "sample": Parametrization.X0}
    return names[scheduler.config.prediction_type]


def step(
    scheduler: Scheduler,
    prediction_NCHW: torch.Tensor,
    index: int,
    x_NCHW: torch.Tensor,
    *,
    source: Parametrization,
    schedule: NoiseSchedule,
) -> torch.Tensor:
    """Return the state one step less noisy.

    Args:
        scheduler: prepared by `set_steps`.
        prediction_NCHW: the network's, or the composed, prediction at `x_NCHW`.
        index: which of the scheduler's steps this is.
        x_NCHW: the state now.
        source: the kind of `prediction_NCHW`.
        schedule: the recipe's noise levels.
    """
    t = scheduler.timesteps[index]
    alpha, sigma = schedule.at(torch.tensor([round(float(t))]))
    alpha, sigma = alpha.to(x_NCHW), sigma.to(x_NCHW)
    output = convert(prediction_NCHW, source, wanted_by(scheduler), x_NCHW, alpha=alpha, sigma=sigma)
    moved: torch.Tensor = scheduler.step(output, t, x_NCHW, return_dict=False)[0]
    return moved


@torch.no_grad()
def draw(
    network: Callable[..., Any],
    recipe: Recipe,
    *,
    count: int,
    steps: int,
    generator: torch.Generator,
    label_N: torch.Tensor | None = None,
    on_state: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Return `count` images drawn from one network, float32 in [-1, 1], shape (N, C, H, W).

    Args:
        network: a recipe's in eval mode on the CPU, or anything that is called like a UNet2DModel.
        recipe: what it was trained by.
        count: number of images N.
        steps: sampler steps.
        generator: source of the starting noise; nothing else is random.
        label_N: int64, what each image is asked for by, where the recipe has conditions.
        on_state: called with every time and the state x_t_NCHW there, noisiest first.
    """
    scheduler, schedule = scheduler_for(recipe), NoiseSchedule.of(recipe.process)
    source = Parametrization(recipe.parametrization)
    shape = (count, recipe.image.channels, recipe.image.size, recipe.image.size)
    x_NCHW = torch.randn(shape, generator=generator)
    for index, t in enumerate(set_steps(scheduler, steps)):
        if on_state is not None:
            on_state(t, x_NCHW)
        prediction_NCHW = predict(network, x_NCHW, t, label_N)
        x_NCHW = step(scheduler, prediction_NCHW, index, x_NCHW, source=source, schedule=schedule)
    return x_NCHW.clamp(-1.0, 1.0)
