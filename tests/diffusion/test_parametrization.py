import math

import pytest
import torch
from diffusion.gaussians import DIMENSIONS, Mixture, three_shards
from hypothesis import given, settings
from hypothesis import strategies as st

from severable_diffusion.parametrization import Parametrization, convert, target

KINDS = list(Parametrization)


def ideal(mixture: Mixture, kind: Parametrization, x_ND: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
    """What a perfect network of each kind predicts, each from its own definition: an expectation given x_t."""
    x0_ND = mixture.expected_x0(x_ND, alpha, sigma)
    with torch.enable_grad():
        y_ND = x_ND.clone().requires_grad_()
        (score_ND,) = torch.autograd.grad(mixture.log_density(y_ND, alpha, sigma).sum(), y_ND)
    eps_ND = -sigma * score_ND  # Tweedie's formula
    return {
        Parametrization.X0: x0_ND,
        Parametrization.EPS: eps_ND,
        Parametrization.V: alpha * eps_ND - sigma * x0_ND,
        Parametrization.FLOW: eps_ND - x0_ND,
    }[kind]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
@settings(max_examples=10)
@given(angle=st.floats(0.02, 1.55), flow=st.booleans())
def test_every_conversion_meets_the_closed_form(
    source: Parametrization, wanted: Parametrization, angle: float, flow: bool
) -> None:
    alpha, sigma = math.cos(angle), math.sin(angle)
    if flow:  # alpha + sigma = 1 instead of alpha^2 + sigma^2 = 1
        alpha, sigma = alpha / (alpha + sigma), sigma / (alpha + sigma)
    mixture = three_shards()[0]
    noise = torch.randn(6, DIMENSIONS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x_ND = alpha * mixture.draw(6, torch.Generator().manual_seed(4)) + sigma * noise
    a, s = torch.tensor(alpha, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    given_ND = ideal(mixture, source, x_ND, alpha, sigma)
    found_ND = convert(given_ND, source, wanted, x_ND, alpha=a, sigma=s)
    torch.testing.assert_close(found_ND, ideal(mixture, wanted, x_ND, alpha, sigma), rtol=1e-6, atol=1e-6)
    back_ND = convert(found_ND, wanted, source, x_ND, alpha=a, sigma=s)
    torch.testing.assert_close(back_ND, given_ND, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize(("alpha", "sigma"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_of_the_process_give_finite_numbers(
    source: Parametrization, wanted: Parametrization, alpha: float, sigma: float
) -> None:
    x0, eps = torch.randn(2, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    a, s = torch.tensor(alpha), torch.tensor(sigma)
    prediction = target(source, x0, eps, a, s)
    found = convert(prediction, source, wanted, alpha * x0 + sigma * eps, alpha=a, sigma=s)
    assert bool(found.isfinite().all())


def test_the_training_target_of_v_is_that_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    x0, eps = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    t_N = torch.tensor([10, 500, 900])
    kept = scheduler.alphas_cumprod[t_N].view(-1, 1, 1, 1)
    ours = target(Parametrization.V, x0, eps, kept.sqrt(), (1.0 - kept).sqrt())
    torch.testing.assert_close(ours, scheduler.get_velocity(x0, eps, t_N))
