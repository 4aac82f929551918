"""What a network predicts, and how one prediction becomes another.

All four are linear in (x_0, eps), so once x_t is known each determines the others:

    eps    the noise
    x0     the data
    v      alpha eps - sigma x0          (Salimans and Ho, arXiv 2202.00512, appendix D)
    flow   eps - x0, the velocity of rectified flow

The formulas hold for any alpha and sigma, not only alpha^2 + sigma^2 = 1. Mixing is linear too, so a mix of
predictions may be taken in any one of the four, as long as it is one. Shapes: N, C, H, W; alpha and sigma broadcast.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FLOOR = 1e-4
"""Smallest divisor: eps says nothing about x0 where alpha is 0, nor x0 about eps where sigma is 0."""


class Parametrization(StrEnum):
    """The quantity a network predicts."""

    EPS = "eps"
    V = "v"
    X0 = "x0"
    FLOW = "flow"


def to_x0(
    prediction: torch.Tensor, source: Parametrization, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the data x0 that a prediction implies; finite everywhere, exact where alpha >= FLOOR."""
    match source:
        case Parametrization.X0:
            return prediction
        case Parametrization.EPS:
            return (x_t - sigma * prediction) / alpha.clamp_min(FLOOR)
        case Parametrization.V:
            return (alpha * x_t - sigma * prediction) / (alpha**2 + sigma**2)
        case Parametrization.FLOW:
            return (x_t - sigma * prediction) / (alpha + sigma)


def to_eps(
    prediction: torch.Tensor, source: Parametrization, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the noise eps that a prediction implies; finite everywhere, exact where sigma >= FLOOR."""
    match source:
        case Parametrization.EPS:
            return prediction
        case Parametrization.X0:
            return (x_t - alpha * prediction) / sigma.clamp_min(FLOOR)
        case Parametrization.V:
            return (sigma * x_t + alpha * prediction) / (alpha**2 + sigma**2)
        case Parametrization.FLOW:
            return (x_t + alpha * prediction) / (alpha + sigma)


def target(
    kind: Parametrization, x0: torch.Tensor, eps: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return what a network of this kind should predict for data x0 and noise eps."""
    match kind:
        case Parametrization.EPS:
            return eps
        case Parametrization.X0:
            return x0
        case Parametrization.V:
            return alpha * eps - sigma * x0
        case Parametrization.FLOW:
            return eps - x0


def convert(
    prediction: torch.Tensor,
    source: Parametrization,
    target_kind: Parametrization,
    x_t: torch.Tensor,
    *,
    alpha: torch.Tensor,
    sigma: torch.Tensor,
) -> torch.Tensor:
    """Return a prediction of kind `source` as one of kind `target_kind`.

    Args:
        prediction: what the network gave at x_t.
        source: the kind of `prediction`.
        target_kind: the kind wanted.
        x_t: the noisy state.
        alpha: signal level at t, broadcastable to x_t.
        sigma: noise level at t, broadcastable to x_t.
    """
    if source is target_kind:
        return prediction
    x0 = to_x0(prediction, source, x_t, alpha, sigma)
    eps = to_eps(prediction, source, x_t, alpha, sigma)
    return target(target_kind, x0, eps, alpha, sigma)
