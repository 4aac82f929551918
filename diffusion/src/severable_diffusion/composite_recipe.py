"""The sections of a recipe that say how a composite is made of its shards: bank, router, sampler.

They are part of the recipe, so that a composite is a pure function of shards, lambdas and recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from severable_diffusion import strict
from severable_diffusion.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class BankRecipe:
    """The bank drawn from each shard.

    Attributes:
        images: images per bank.
        steps: sampler steps per image.
        batch: images drawn at a time.
        held_out: share of each bank kept from the router's training, for its calibration.
    """

    images: int = strict.whole(8, 1_000_000)
    steps: int = strict.whole(2, 1000)
    batch: int = strict.whole(1, 4096, 128)
    held_out: float = strict.real(0.05, 0.5, 0.2)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "bank")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRecipe:
    """The joint router and its training.

    Attributes:
        channels: width of the first level.
        steps: optimizer steps.
        batch: noised samples of each shard per step, the same for every shard.
        learning_rate: AdamW peak learning rate.
        ema_decay: decay of the moving average of the weights.
        noise_low: low end of the useful band of sigma/alpha; below it the router would learn the shards' artefacts.
        noise_high: high end of the band; above it the posterior is the prior.
        band_share: share of the training samples drawn log-uniformly from the band; the rest is uniform in time.
        bins: number of noise levels that get their own temperature.
        trajectory_share: share of the training samples that are states of the shards' own reverse trajectories, which
            lie where the sampler will ask, instead of noised images.
        patch: side of the squares of pixels that the router folds into channels before its first layer; 2 makes it
            about four times cheaper, and the band of noise where it decides has little finer detail.
    """

    channels: int = strict.whole(4, 512)
    steps: int = strict.whole(1, 1_000_000)
    batch: int = strict.whole(1, 4096)
    learning_rate: float = strict.real(1e-7, 1.0)
    ema_decay: float = strict.real(0.0, 0.99999, 0.98)
    noise_low: float = strict.real(1e-3, 10.0, 0.3)
    noise_high: float = strict.real(0.1, 1000.0, 20.0)
    band_share: float = strict.real(0.0, 1.0, 0.8)
    bins: int = strict.whole(2, 64, 8)
    trajectory_share: float = strict.real(0.0, 1.0, 0.2)
    patch: int = strict.whole(1, 8, 1)

    def __post_init__(self) -> None:
        """Check the bounds and that the band is one."""
        strict.check(self, "router")
        if self.noise_low >= self.noise_high:
            raise RecipeError("router.noise_low", f"is {self.noise_low}; must be below noise_high ({self.noise_high})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRecipe:
    """The composite's sampler.

    Attributes:
        scheduler: ddim for the cosine and linear schedules, euler for flow.
        steps: default number of steps.
    """

    scheduler: str = strict.word(("ddim", "euler"))
    steps: int = strict.whole(1, 1000)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "sampler")
