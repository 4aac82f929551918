"""Composing predictions: which shards run for which sample, and how their predictions become one.

A dispatch turns posterior weights into the sparse weights that are used; `mix` then gathers the rows of each shard,
runs the shard once on them and scatters the weighted result. Weights sum to 1 after every truncation, or the score
would be scaled. Shapes: N samples, K shards, M rows of one shard, C, H, W.

Choices made by drawing are unbiased: under the exact process the posterior is a martingale, so committing to a draw
from it, at any stopping time, leaves the distribution of the samples as it was. Truncation without a draw is not.
How a draw is made, and what a removal leaves of it: `severable_diffusion.lots`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from severable_diffusion.lots import Lots

UNDECIDED = -1


@dataclass(frozen=True, slots=True)
class Memory:
    """What a dispatch remembers of a batch between steps.

    Attributes:
        committed_N: int64, the shard that a sample is bound to, or `UNDECIDED`.
    """

    committed_N: torch.Tensor

    @classmethod
    def start(cls, count: int, device: torch.device | str = "cpu") -> Memory:
        """Return the memory before the first step: nothing decided."""
        return cls(torch.full((count,), UNDECIDED, dtype=torch.int64, device=device))

    @property
    def open_N(self) -> torch.Tensor:
        """Bool: which samples still need the router."""
        return self.committed_N == UNDECIDED


class Dispatch(Protocol):
    """Decides which shards run."""

    def choose(self, w_NK: torch.Tensor, memory: Memory, lots: Lots, log_snr: float) -> tuple[torch.Tensor, Memory]:
        """Return the weights to use, each row summing to 1, and the memory for the next step.

        Args:
            w_NK: posterior weights, each row summing to 1; rows of bound samples are ignored.
            memory: from the step before.
            lots: source of whatever is drawn.
            log_snr: of the states.
        """


@dataclass(frozen=True, slots=True)
class Full:
    """Every shard with its weight: the proposition as it stands, K evaluations a step."""

    def choose(
        self,
        w_NK: torch.Tensor,
        memory: Memory,
        lots: Lots,  # noqa: ARG002  # the Dispatch interface
        log_snr: float,  # noqa: ARG002  # as above
    ) -> tuple[torch.Tensor, Memory]:
        """Return the weights as they are."""
        return w_NK, memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Cumulative:
    """The fewest shards that hold `mass` of the weight, at most `cap`; bound to one, drawn, once one holds `commit`.

    Attributes:
        mass: in (0, 1].
        commit: in (0, 1]; above 1 for never.
        cap: most shards for one sample; None for as many as it takes. A cap truncates without a draw, so it is biased.
    """

    mass: float = 0.99
    commit: float = 0.95
    cap: int | None = None

    def choose(
        self,
        w_NK: torch.Tensor,
        memory: Memory,
        lots: Lots,
        log_snr: float,  # noqa: ARG002  # the Dispatch interface
    ) -> tuple[torch.Tensor, Memory]:
        """Return truncated weights, or one shard for bound samples."""
        if self.commit > 1.0:
            return _bound(self._truncated(w_NK), memory.committed_N), memory
        # The draw is made at every step, whoever is sure: what is drawn later must not depend on it.
        sure_N = memory.open_N & (w_NK.max(dim=1).values >= self.commit)
        # A draw, not the largest: with lambda 0.96 the largest would shut the other shards out from the first step.
        committed_N = torch.where(sure_N, lots.draw(w_NK), memory.committed_N)
        return _bound(self._truncated(w_NK), committed_N), Memory(committed_N)

    def _truncated(self, w_NK: torch.Tensor) -> torch.Tensor:
        sorted_NK, order_NK = w_NK.sort(dim=1, descending=True)
        needed_NK = sorted_NK.cumsum(dim=1) - sorted_NK < self.mass
        if self.cap is not None:
            needed_NK[:, self.cap :] = False
        return renormalised(w_NK * torch.zeros_like(needed_NK).scatter(1, order_NK, needed_NK))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawAt:
    """The mixture while a sample is noisier than a level; there one shard is drawn from its weights, and kept.

    Attributes:
        noise: the level sigma / alpha; infinite for a draw at the first step.
        mass: of the weight that the shards which run before the draw hold.
    """

    noise: float
    mass: float = 0.99

    def choose(self, w_NK: torch.Tensor, memory: Memory, lots: Lots, log_snr: float) -> tuple[torch.Tensor, Memory]:
        """Return truncated weights, or one shard for bound samples."""
        commit = 0.0 if log_snr >= -2.0 * math.log(self.noise) else math.inf
        return Cumulative(mass=self.mass, commit=commit).choose(w_NK, memory, lots, log_snr)


@dataclass(frozen=True, slots=True)
class DrawOnce:
    """One shard per sample, drawn from its weights at the first step and kept to the end: one evaluation a step.

    From pure noise the weights are the lambdas; from a partly noised image, the router's.
    """

    def choose(
        self,
        w_NK: torch.Tensor,
        memory: Memory,
        lots: Lots,
        log_snr: float,  # noqa: ARG002  # the Dispatch interface
    ) -> tuple[torch.Tensor, Memory]:
        """Return one-hot weights."""
        if not bool(memory.open_N.any()):
            return _bound(w_NK, memory.committed_N), memory
        committed_N = torch.where(memory.open_N, lots.draw(w_NK), memory.committed_N)
        return _bound(w_NK, committed_N), Memory(committed_N)


@dataclass(frozen=True, slots=True)
class PerStepDraw:
    """One shard per sample, drawn anew at every step: one evaluation a step, right only with many steps."""

    def choose(
        self,
        w_NK: torch.Tensor,
        memory: Memory,
        lots: Lots,
        log_snr: float,  # noqa: ARG002  # the Dispatch interface
    ) -> tuple[torch.Tensor, Memory]:
        """Return one-hot weights."""
        return _bound(w_NK, lots.draw(w_NK)), memory


@dataclass(frozen=True, slots=True)
class TopK:
    """The `k` largest weights, renormalised. Biased while samples are undecided: for comparison."""

    k: int = 2

    def choose(
        self,
        w_NK: torch.Tensor,
        memory: Memory,
        lots: Lots,  # noqa: ARG002  # the Dispatch interface
        log_snr: float,  # noqa: ARG002  # as above
    ) -> tuple[torch.Tensor, Memory]:
        """Return truncated weights."""
        top_NK = w_NK.topk(min(self.k, w_NK.shape[1]), dim=1).indices
        return renormalised(w_NK * torch.zeros_like(w_NK).scatter(1, top_NK, 1.0)), memory


DISPATCHES: dict[str, Dispatch] = {
    "full": Full(),
    "cumulative": Cumulative(),
    "capped": Cumulative(cap=2),
    "draw_once": DrawOnce(),
    "draw_late": DrawAt(noise=3.0),
    "per_step_draw": PerStepDraw(),
    "top_1": TopK(1),
    "top_2": TopK(2),
}


def renormalised(w_NK: torch.Tensor) -> torch.Tensor:
    """Return weights whose rows sum to 1."""
    return w_NK / w_NK.sum(dim=1, keepdim=True)


def _bound(w_NK: torch.Tensor, committed_N: torch.Tensor) -> torch.Tensor:
    one_hot_NK = torch.zeros_like(w_NK).scatter(1, committed_N.clamp_min(0)[:, None], 1.0)
    return torch.where((committed_N == UNDECIDED)[:, None], w_NK, one_hot_NK)


def mix(
    predict: Callable[[int, torch.Tensor], torch.Tensor], x_t_NCHW: torch.Tensor, w_NK: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """Return the composed prediction and the number of (sample, shard) evaluations it took.

    Args:
        predict: gives shard k's prediction for the rows M of the batch, (M, C, H, W); all in ONE parametrization.
        x_t_NCHW: the noisy states.
        w_NK: weights, each row summing to 1; a shard runs on the rows where its weight is above 0.
    """
    assert torch.allclose(w_NK.sum(dim=1), w_NK.new_ones(len(w_NK)), atol=1e-4), "weights must sum to 1"  # noqa: S101
    # Sorted by shard once, so that the device is asked for counts once and not for every shard (docs/adr/0009).
    shards_R, rows_R = w_NK.T.nonzero(as_tuple=True)
    share_R111 = w_NK[rows_R, shards_R].view(-1, 1, 1, 1).to(x_t_NCHW.dtype)
    counts = torch.bincount(shards_R, minlength=w_NK.shape[1]).tolist()
    groups = zip(rows_R.split_with_sizes(counts), share_R111.split_with_sizes(counts), strict=True)
    mixed_NCHW = torch.zeros_like(x_t_NCHW)
    for k, (rows_M, share_M111) in enumerate(groups):
        if len(rows_M) > 0:
            mixed_NCHW.index_add_(0, rows_M, share_M111 * predict(k, rows_M).to(x_t_NCHW.dtype))
    return mixed_NCHW, len(rows_R)
