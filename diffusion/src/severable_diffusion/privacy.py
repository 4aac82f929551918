"""What a recipe says about differential privacy, and what a training spent of it. No torch, no opacus here."""

from __future__ import annotations

from dataclasses import dataclass

from severable_diffusion import strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """Differentially private training: every image's gradient is clipped, and noise is added to the sum.

    It is DP-SGD (Abadi et al., arXiv 1607.00133) with the recipe's optimizer after the noise.

    Attributes:
        noise_multiplier: standard deviation of the noise, as a multiple of the clipping norm.
        clipping_norm: largest norm of one image's gradient.
        delta: the chance that epsilon does not bound; it should be far below one over the number of images.
    """

    noise_multiplier: float = strict.real(0.1, 100.0)
    clipping_norm: float = strict.real(1e-4, 1e3)
    delta: float = strict.real(1e-12, 0.1)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "training.privacy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one training spent, with "neighbouring" meaning one image more or less.

    Attributes:
        epsilon: by the accountant, above 0.
        delta: as the recipe has it.
        noise_multiplier: as the recipe has it.
        sampling_rate: the chance of each image to be in a batch, 0 to 1.
        steps: noisy steps.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
