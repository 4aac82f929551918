from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from diffusion.gaussians import SIZE, Mixture, as_images, as_points, three_shards
from diffusion.recipes import tiny

from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.recipe import Recipe
from severable_diffusion.sampler import draw, set_steps, step
from severable_diffusion.schedule import NoiseSchedule


def recipe_of(kind: str, schedule: str = "cosine") -> Recipe:
    scheduler = "euler" if schedule == "flow" else "ddim"
    return tiny(
        parametrization=kind,
        process={"schedule": schedule, "steps": 1000},
        image={"size": SIZE},
        sampler={"scheduler": scheduler},
    )


class Exact:
    """A perfect network of any kind: the closed-form expectation for a known mixture."""

    def __init__(self, recipe: Recipe, mixture: Mixture) -> None:
        self.kind, self.mixture = Parametrization(recipe.parametrization), mixture
        self.schedule = NoiseSchedule.of(recipe.process)

    def __call__(self, x_NCHW: torch.Tensor, t: int, **_options: Any) -> tuple[torch.Tensor]:
        alpha, sigma = (level.double() for level in self.schedule.at(torch.tensor([t])))
        x_ND = as_points(x_NCHW).double()
        x0_NCHW = as_images(self.mixture.expected_x0(x_ND, float(alpha), float(sigma)))
        found = convert(x0_NCHW, Parametrization.X0, self.kind, as_images(x_ND), alpha=alpha, sigma=sigma)
        return (found.float(),)


@pytest.mark.parametrize(("kind", "name"), [("eps", "epsilon"), ("v", "v_prediction"), ("x0", "sample")])
def test_a_step_is_that_of_diffusers_on_the_same_state(kind: str, name: str) -> None:
    recipe = recipe_of(kind)
    theirs = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type=name, timestep_spacing="trailing", clip_sample=True
    )
    theirs.set_timesteps(20)
    from severable_diffusion.sampler import scheduler_for

    ours = scheduler_for(recipe)
    times = set_steps(ours, 20)
    assert times == theirs.timesteps.tolist()
    x_NCHW, prediction = torch.randn(2, 5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).unbind()
    schedule = NoiseSchedule.of(recipe.process)
    for index in (0, 7, 19):
        moved = step(ours, prediction, index, x_NCHW, source=Parametrization(kind), schedule=schedule)
        torch.testing.assert_close(moved, theirs.step(prediction, times[index], x_NCHW).prev_sample)


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_perfect_networks_of_every_kind_draw_the_same_images(kind: str) -> None:
    mixture = three_shards()[0]

    def drawn(of: str) -> torch.Tensor:
        recipe = recipe_of(of)
        noise = torch.Generator().manual_seed(0)
        return draw(Exact(recipe, mixture), recipe, count=12, steps=20, generator=noise)

    torch.testing.assert_close(drawn(kind), drawn("x0"), atol=2e-3, rtol=0)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "flow"])
def test_a_perfect_network_draws_from_the_mixture(schedule: str) -> None:
    mixture = Mixture(means_JD=torch.tensor([[0.5], [-0.4]]).double().repeat(1, SIZE * SIZE), spread=0.1)
    recipe = recipe_of("v", schedule)
    noise = torch.Generator().manual_seed(0)
    x_ND = as_points(draw(Exact(recipe, mixture), recipe, count=800, steps=200, generator=noise)).double()
    first_N = x_ND.mean(dim=1) > 0.05
    assert abs(float(first_N.double().mean()) - 0.5) < 0.06
    for place, own_N in enumerate((first_N, ~first_N)):
        torch.testing.assert_close(x_ND[own_N].mean(dim=0), mixture.means_JD[place], atol=0.03, rtol=0)
        assert abs(float(x_ND[own_N].std(dim=0).mean()) - 0.1) < 0.02
