"""Noise schedules: alpha_t and sigma_t of x_t = alpha_t x_0 + sigma_t eps at the discrete times t.

- cosine: Nichol and Dhariwal, arXiv 2102.09672, equation 17, betas capped at 0.999 (diffusers' squaredcos_cap_v2).
- linear: Ho et al., arXiv 2006.11239, section 4: betas from 1e-4 to 0.02 over 1000 steps, scaled for other counts.
- flow: rectified flow, alpha = 1 - t/T, sigma = t/T (Liu et al., arXiv 2209.03003). It has T + 1 times, of which
  t = 0 is clean data; diffusers' FlowMatchEulerDiscreteScheduler counts the same way (its timestep is T sigma).

cosine and linear have T times, 0 to T - 1, as diffusers' DDIMScheduler has. Shapes: T times, N samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from severable_diffusion.recipe import Process

LOG_SNR_LIMIT = 20.0
"""log-SNR is clipped to [-20, 20], so that the ends of a schedule stay finite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseSchedule:
    """A forward process on discrete times.

    Attributes:
        alpha_T: signal level, float32 in [0, 1], decreasing.
        sigma_T: noise level, float32 in [0, 1], increasing.
        first: smallest time that has noise: 1 for flow, else 0.
    """

    alpha_T: torch.Tensor
    sigma_T: torch.Tensor
    first: int

    @classmethod
    def of(cls, process: Process) -> NoiseSchedule:
        """Return the schedule of a recipe's process."""
        if process.schedule == "flow":
            sigma_T = torch.arange(process.steps + 1, dtype=torch.float64) / process.steps
            alpha_T, first = 1.0 - sigma_T, 1
        else:
            kept_T = torch.cumprod(1.0 - betas(process), dim=0)
            alpha_T, sigma_T, first = kept_T.sqrt(), (1.0 - kept_T).sqrt(), 0
        return cls(alpha_T=alpha_T.float(), sigma_T=sigma_T.float(), first=first)

    @property
    def last(self) -> int:
        """The largest time."""
        return len(self.alpha_T) - 1

    @property
    def log_snr_T(self) -> torch.Tensor:
        """log(alpha^2 / sigma^2) of every time, float32 in [-20, 20]."""
        ratio_T = 2.0 * (self.alpha_T.double().log() - self.sigma_T.double().log())
        return ratio_T.clamp(-LOG_SNR_LIMIT, LOG_SNR_LIMIT).float()

    def at(self, t_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return alpha and sigma at integer times t, each of shape (N, 1, 1, 1)."""
        alpha_T, sigma_T = self.alpha_T.to(t_N.device), self.sigma_T.to(t_N.device)
        return alpha_T[t_N].view(-1, 1, 1, 1), sigma_T[t_N].view(-1, 1, 1, 1)

    def add_noise(self, x0_NCHW: torch.Tensor, eps_NCHW: torch.Tensor, t_N: torch.Tensor) -> torch.Tensor:
        """Return x_t of shape (N, C, H, W) for data x0 and standard normal noise eps at integer times t."""
        alpha_N111, sigma_N111 = self.at(t_N)
        return alpha_N111 * x0_NCHW + sigma_N111 * eps_NCHW

    def time_of(self, log_snr_N: torch.Tensor) -> torch.Tensor:
        """Return the time in [first, last] whose log-SNR is nearest to each of `log_snr_N`, as int64."""
        falling_T = self.log_snr_T[self.first :]
        rising_T = falling_T.flip(0).contiguous()
        right_N = torch.searchsorted(rising_T, log_snr_N.contiguous()).clamp(1, len(rising_T) - 1)
        nearer_left_N = (log_snr_N - rising_T[right_N - 1]).abs() < (rising_T[right_N] - log_snr_N).abs()
        return self.last - (right_N - nearer_left_N.long())

    def fractional_time_of(self, log_snr: float) -> float:
        """Return the time, between two whole ones, of a log-SNR; the nearest end where it is beyond the schedule."""
        rising = self.log_snr_T[self.first :].flip(0).double()
        place = int(torch.searchsorted(rising, torch.tensor(log_snr, dtype=torch.float64)))
        if not 0 < place < len(rising):
            return float(self.last if place == 0 else self.first)
        low, high = float(rising[place - 1]), float(rising[place])
        return self.last - (place - 1) - (log_snr - low) / max(high - low, 1e-12)

    def levels_of(self, log_snr: float) -> tuple[float, float]:
        """Return this process's alpha and sigma of a log-SNR, at any time, also one between two."""
        ratio = math.exp(-0.5 * log_snr)  # sigma / alpha
        if self.first == 1:
            return 1.0 / (1.0 + ratio), ratio / (1.0 + ratio)
        alpha = 1.0 / math.sqrt(1.0 + ratio * ratio)
        return alpha, ratio * alpha


def betas(process: Process) -> torch.Tensor:
    """Return the variances beta_T of a cosine or linear process, float64 in (0, 0.999]."""
    steps = process.steps
    if process.schedule == "linear":
        low, high = linear_ends(steps)
        return torch.linspace(low, high, steps, dtype=torch.float64)
    u_T = torch.arange(steps + 1, dtype=torch.float64) / steps
    kept_T = torch.cos((u_T + 0.008) / 1.008 * math.pi / 2.0) ** 2
    return (1.0 - kept_T[1:] / kept_T[:-1]).clamp(max=0.999)


def linear_ends(steps: int) -> tuple[float, float]:
    """Return the first and last beta of the linear schedule, scaled so that any step count ends in noise."""
    return min(0.1 / steps, 0.999), min(20.0 / steps, 0.999)
