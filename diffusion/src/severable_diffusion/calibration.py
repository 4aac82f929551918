"""Calibration: does a router that says 80 % turn out right four times in five?

Temperatures follow Guo et al., arXiv 1706.04599, one per noise level, since a router is right to be sure at low noise
and right to be unsure at high noise. Shapes: N samples, K shards, B bins.
"""

from __future__ import annotations

import torch

LOG_TEMPERATURE_LIMIT = 3.0
GRID = 61
REFINEMENTS = 3


def expected_calibration_error(w_NK: torch.Tensor, label_N: torch.Tensor, bins: int = 10) -> float:
    """Return the mean gap between confidence and accuracy of the likeliest shard, in [0, 1], over equal-width bins."""
    confidence_N, guess_N = w_NK.max(dim=1)
    right_N = (guess_N == label_N).double()
    bin_N = (confidence_N * bins).long().clamp(max=bins - 1)
    gap_B = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_N, confidence_N.double() - right_N)
    return float(gap_B.abs().sum() / len(w_NK))


def fit_log_temperature(l_NK: torch.Tensor, label_N: torch.Tensor) -> float:
    """Return the log temperature in [-3, 3] that minimises the cross-entropy of logits / temperature.

    A grid, refined around its best point: no optimizer state, so the result depends on the logits alone.
    """
    logits_NK = l_NK.double()
    best, reach = 0.0, LOG_TEMPERATURE_LIMIT
    for _ in range(REFINEMENTS):
        grid_G = torch.linspace(best - reach, best + reach, GRID, dtype=torch.float64)
        grid_G = grid_G.clamp(-LOG_TEMPERATURE_LIMIT, LOG_TEMPERATURE_LIMIT)
        losses = [torch.nn.functional.cross_entropy(logits_NK / one.exp(), label_N).item() for one in grid_G]
        best = grid_G[losses.index(min(losses))].item()
        reach *= 2.0 / (GRID - 1)
    return best
