"""A composite whose networks and router are exact: Gaussian mixtures behind the real pipeline."""

from types import SimpleNamespace
from typing import Any

import torch
from diffusion.gaussians import SIZE, Mixture, as_images, as_points
from diffusion.recipes import tiny
from torch import nn

from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recipe import Recipe
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.shard_set import Member, ShardSet

LAMBDAS = (1.0, 3.0, 0.5)


def exact_recipe(**sections: Any) -> Recipe:
    return tiny(image={"size": SIZE}, process={"steps": 1000}, sampler={"steps": 40}, **sections)


def levels_at(schedule: NoiseSchedule, time: torch.Tensor | float) -> tuple[float, float]:
    """alpha and sigma at a time that may lie between two whole ones."""
    t = float(time if not isinstance(time, torch.Tensor) else time.flatten()[0])
    low = min(int(t), schedule.last - 1)
    left, right = float(schedule.log_snr_T[low]), float(schedule.log_snr_T[low + 1])
    return schedule.levels_of(left + (right - left) * (t - low))


class ExactNetwork(nn.Module):
    """Says what a perfectly trained network would."""

    def __init__(self, mixture: Mixture, schedule: NoiseSchedule, kind: Parametrization) -> None:
        super().__init__()
        self.mixture, self.schedule, self.kind = mixture, schedule, kind
        self.register_buffer("placeholder", torch.zeros(1))

    def forward(
        self, x_t_NCHW: torch.Tensor, time: torch.Tensor | float, *, return_dict: bool
    ) -> tuple[torch.Tensor, ...]:
        assert not return_dict
        alpha, sigma = levels_at(self.schedule, time)
        x_NCHW = x_t_NCHW.double()
        x0_NCHW = as_images(self.mixture.expected_x0(as_points(x_NCHW), alpha, sigma))
        a, s = torch.tensor(alpha, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
        return (convert(x0_NCHW, Parametrization.X0, self.kind, x_NCHW, alpha=a, sigma=s).to(x_t_NCHW.dtype),)


class ExactRouter(nn.Module):
    """Says the true posterior, prior-free."""

    def __init__(self, mixtures: tuple[Mixture, ...], schedule: NoiseSchedule, ids: tuple[str, ...]) -> None:
        super().__init__()
        self.mixtures, self.schedule = mixtures, schedule
        self.config = SimpleNamespace(shard_ids=ids)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def logits(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert condition is None
        alpha, sigma = self.schedule.levels_of(float(log_snr_N[0]))
        x_ND = as_points(x_t_NCHW).double()
        return torch.stack([mixture.log_density(x_ND, alpha, sigma) for mixture in self.mixtures], dim=1)


def exact_pipeline(
    mixtures: tuple[Mixture, ...], recipe: Recipe, kinds: tuple[Parametrization, ...] | None = None
) -> CompositePipeline:
    schedule = NoiseSchedule.of(recipe.process)
    own = Parametrization(recipe.parametrization)
    names = tuple("abcdefgh"[: len(mixtures)])
    each = kinds or (own,) * len(mixtures)
    networks = {
        name: ExactNetwork(mixture, schedule, kind) for name, mixture, kind in zip(names, mixtures, each, strict=True)
    }
    members = {
        name: Member(share=share, parametrization=None if kind is own else kind)
        for name, share, kind in zip(names, LAMBDAS, each, strict=False)
    }
    shards = ShardSet(recipe, networks, members).eval()
    pipeline = CompositePipeline(shards, scheduler_for(recipe), None)
    pipeline.router = ExactRouter(mixtures, schedule, names)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
