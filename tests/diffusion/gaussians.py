"""Gaussian mixtures: data whose noised density, posterior and score have a closed form, in float64.

A shard is a mixture of J equally likely isotropic Gaussians N(m_j, s^2 I). Under x_t = alpha x_0 + sigma eps its
density is the mixture of N(alpha m_j, (alpha^2 s^2 + sigma^2) I). Shapes: N points, D dimensions, J components.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SIZE = 4
DIMENSIONS = SIZE * SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """One shard's data."""

    means_JD: torch.Tensor
    spread: float

    def _terms(self, x_ND: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
        variance = alpha**2 * self.spread**2 + sigma**2
        squared_NJ = (x_ND[:, None, :] - alpha * self.means_JD).square().sum(dim=2)
        constant = -0.5 * DIMENSIONS * math.log(2.0 * math.pi * variance) - math.log(len(self.means_JD))
        return constant - 0.5 * squared_NJ / variance

    def log_density(self, x_ND: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
        return self._terms(x_ND, alpha, sigma).logsumexp(dim=1)

    def expected_x0(self, x_ND: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
        """E[x_0 | x_t]: per component the mean of a Gaussian posterior, weighted by the component's posterior."""
        share_NJ = self._terms(x_ND, alpha, sigma).softmax(dim=1)
        gain = alpha * self.spread**2 / (alpha**2 * self.spread**2 + sigma**2)
        per_component_NJD = self.means_JD + gain * (x_ND[:, None, :] - alpha * self.means_JD)
        return (share_NJ[:, :, None] * per_component_NJD).sum(dim=1)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(self.means_JD), (count,), generator=generator)
        noise = torch.randn(count, DIMENSIONS, generator=generator, dtype=torch.float64)
        return self.means_JD[rows] + self.spread * noise


def three_shards() -> tuple[Mixture, ...]:
    """Three shards of two components each, near enough to be confused when noisy."""
    source = torch.Generator().manual_seed(11)
    means = torch.randn(3, 2, DIMENSIONS, generator=source, dtype=torch.float64) * 0.35
    return tuple(Mixture(means_JD=means_JD, spread=0.2) for means_JD in means)


def posterior(
    mixtures: Sequence[Mixture], lambdas: Sequence[float], x_ND: torch.Tensor, alpha: float, sigma: float
) -> torch.Tensor:
    """True weights w_NK by Bayes."""
    density_NK = torch.stack([mixture.log_density(x_ND, alpha, sigma).exp() for mixture in mixtures], dim=1)
    joint_NK = density_NK * torch.tensor(lambdas, dtype=torch.float64)
    return joint_NK / joint_NK.sum(dim=1, keepdim=True)


def true_score(
    mixtures: Sequence[Mixture], lambdas: Sequence[float], x_ND: torch.Tensor, alpha: float, sigma: float
) -> torch.Tensor:
    """Gradient of the log density of the whole mixture, by automatic differentiation: no composition in it."""
    x_ND = x_ND.detach().clone().requires_grad_()
    total = sum(lambdas)
    parts = [
        math.log(share / total) + mixture.log_density(x_ND, alpha, sigma)
        for mixture, share in zip(mixtures, lambdas, strict=True)
    ]
    (gradient_ND,) = torch.autograd.grad(torch.stack(parts).logsumexp(dim=0).sum(), x_ND)
    return gradient_ND


def as_images(x_ND: torch.Tensor) -> torch.Tensor:
    return x_ND.view(-1, 1, SIZE, SIZE)


def as_points(x_NCHW: torch.Tensor) -> torch.Tensor:
    return x_NCHW.flatten(1)
