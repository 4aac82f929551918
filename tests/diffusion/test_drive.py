from typing import Any

import diffusers
import pytest
import torch
from diffusion.exact import LAMBDAS, exact_pipeline, exact_recipe
from diffusion.gaussians import as_points, three_shards

from severable_diffusion.errors import CompositeError
from severable_diffusion.parametrization import Parametrization

COUNT = 1500
VARIANCE_PRESERVING = (
    "DDIM",
    "DDPM",
    "DPMSolverMultistep",
    "DPMSolverSinglestep",
    "UniPCMultistep",
    "DEISMultistep",
    "PNDM",
)
VARIANCE_EXPLODING = ("EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete")
SECOND_ORDER = ("HeunDiscrete", "KDPM2Discrete")
FLOW = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")


def truth() -> torch.Tensor:
    source = torch.Generator().manual_seed(9)
    owner_N = torch.multinomial(torch.tensor(LAMBDAS), 40_000, replacement=True, generator=source)
    each_KND = torch.stack([shard.draw(40_000, source) for shard in three_shards()])
    return each_KND[owner_N, torch.arange(40_000)]


def assert_same_law(x_NCHW: torch.Tensor) -> None:
    """Mean and covariance of the samples are those of the whole mixture."""
    true_ND, found_ND = truth(), as_points(x_NCHW).double()
    spread = float(true_ND.std())
    assert (found_ND.mean(dim=0) - true_ND.mean(dim=0)).abs().max() < 0.15 * spread
    true_DD, found_DD = torch.cov(true_ND.T), torch.cov(found_ND.T)
    assert (found_DD - true_DD).norm() < 0.2 * true_DD.norm()


def sampled(scheduler: Any, steps: int, **sections: Any) -> torch.Tensor:
    pipeline = exact_pipeline(three_shards(), exact_recipe(**sections))
    if scheduler is not None:
        pipeline.scheduler = scheduler
    images, _ = pipeline(
        batch_size=COUNT,
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=steps,
        dispatch="full",
        output_type="pt",
        return_dict=False,
    )
    return torch.as_tensor(images)


# KDPM2's own set-up mixes numpy and torch in a way that numpy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", VARIANCE_PRESERVING + VARIANCE_EXPLODING)
def test_any_scheduler_on_the_recipes_betas_draws_from_the_whole_mixture(name: str) -> None:
    kind = getattr(diffusers, f"{name}Scheduler")
    options = {"clip_sample": False} if name in ("DDIM", "DDPM") else {}
    scheduler = kind(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", **options
    )
    assert_same_law(sampled(scheduler, 200 if name == "DDPM" else 50))


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", SECOND_ORDER)
def test_a_scheduler_that_visits_a_time_twice_draws_from_it_too(name: str) -> None:
    # With the cosine betas their first step crosses sigma 20,000 to 40, which no second-order step survives.
    kind = getattr(diffusers, f"{name}Scheduler")
    assert_same_law(sampled(kind(beta_schedule="scaled_linear"), 50))


@pytest.mark.parametrize("name", ["DPMSolverMultistep", "EulerDiscrete", "UniPCMultistep"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_scheduler_with_other_betas_and_karras_sigmas_draws_from_it_too(name: str, prediction: str) -> None:
    kind = getattr(diffusers, f"{name}Scheduler")
    assert_same_law(
        sampled(kind(beta_schedule="scaled_linear", use_karras_sigmas=True, prediction_type=prediction), 50)
    )


@pytest.mark.parametrize("name", FLOW)
def test_a_flow_scheduler_drives_shards_of_a_cosine_process(name: str) -> None:
    assert_same_law(sampled(getattr(diffusers, f"{name}Scheduler")(shift=1.0), 50))


@pytest.mark.parametrize("name", [None, "DPMSolverMultistep", "FlowMatchHeunDiscrete"])
def test_shards_of_a_flow_process_are_driven_too(name: str | None) -> None:
    scheduler = None if name is None else getattr(diffusers, f"{name}Scheduler")()
    flow = {"parametrization": "flow", "process": {"schedule": "flow", "steps": 1000}}
    pipeline = exact_pipeline(three_shards(), exact_flow(flow))
    if scheduler is not None:
        pipeline.scheduler = scheduler
    images, _ = pipeline(
        COUNT, torch.Generator().manual_seed(3), num_inference_steps=50, dispatch="full", output_type="pt",
        return_dict=False,
    )  # fmt: skip
    assert_same_law(torch.as_tensor(images))


def exact_flow(sections: dict[str, Any]) -> Any:
    from diffusion.gaussians import SIZE
    from diffusion.recipes import tiny

    return tiny(image={"size": SIZE}, sampler={"scheduler": "euler", "steps": 40}, **sections)


def test_shards_of_four_parametrizations_are_mixed_as_if_they_had_one() -> None:
    shards = three_shards()
    recipe = exact_recipe()
    same = exact_pipeline(shards, recipe)
    for kinds in (
        (Parametrization.EPS, Parametrization.X0, Parametrization.FLOW),
        (Parametrization.FLOW, Parametrization.V, Parametrization.EPS),
    ):
        mixed = exact_pipeline(shards, recipe, kinds)
        options: dict[str, Any] = {"batch_size": 40, "dispatch": "full", "output_type": "pt", "return_dict": False}
        first, _ = same(generator=torch.Generator().manual_seed(1), **options)
        second, _ = mixed(generator=torch.Generator().manual_seed(1), **options)
        torch.testing.assert_close(first, second, atol=5e-3, rtol=0.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("EDMEulerScheduler", "scales a network's inputs"),
        ("LCMScheduler", "not for networks of this kind"),
        ("KarrasVeScheduler", "no diffusers scheduler with a config"),
        ("ScoreSdeVeScheduler", "not for networks of this kind"),
    ],
)
def test_a_scheduler_that_cannot_drive_a_composite_is_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(CompositeError, match=says) as caught:
        sampled(getattr(diffusers, name)(), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_a_scheduler_that_fails_inside_is_told_in_one_line() -> None:
    scheduler = diffusers.KDPM2DiscreteScheduler(prediction_type="sample")
    with pytest.raises(CompositeError, match="KDPM2DiscreteScheduler cannot do this"):
        sampled(scheduler, 10)
