"""Driving any diffusers scheduler with a composed prediction.

A scheduler keeps its own state x = alpha x_0 + sigma eps, on its own levels: variance preserving, variance exploding
(alpha 1) or flow (alpha 1 - sigma). The shards know the recipe's levels alone. Both are put on one axis, log-SNR: the
state is scaled to the recipe's alpha and sigma of equal log-SNR (Karras et al., arXiv 2206.00364, section 3), networks
are told the recipe's time there, and what they say is turned into what the scheduler wants at its own levels. The
recipe's own scheduler is the case where nothing needs scaling. Shapes: N, C, H, W.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion import sampler
from severable_diffusion.errors import CompositeError
from severable_diffusion.parametrization import Parametrization, convert, target, to_eps, to_x0
from severable_diffusion.schedule import LOG_SNR_LIMIT

if TYPE_CHECKING:
    from severable_diffusion.lots import Generators
    from severable_diffusion.schedule import NoiseSchedule

WANTED = {
    "epsilon": Parametrization.EPS,
    "v_prediction": Parametrization.V,
    "sample": Parametrization.X0,
    "flow_prediction": Parametrization.FLOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a state stands.

    Attributes:
        alpha: signal level of the scheduler's state, in [0, 1].
        sigma: its noise level, 0 or more.
        net_alpha: signal level of what the networks are given.
        net_sigma: its noise level.
        time: what the networks are told: a whole time of the recipe, or one between two.
        log_snr: in [-20, 20], equal for both.
    """

    alpha: float
    sigma: float
    net_alpha: float
    net_sigma: float
    time: float
    log_snr: float

    @property
    def scale(self) -> float:
        """What the scheduler's state is multiplied with before a network sees it."""
        if self.alpha < self.sigma:  # by the larger of the two, so that nothing is divided by 0 at pure noise
            return self.net_sigma / self.sigma
        return self.net_alpha / self.alpha


class Drive:
    """One run of a scheduler.

    Args:
        scheduler: any diffusers scheduler whose levels can be told.
        schedule: the recipe's.
        steps: number of steps from pure noise.
        device: where the state is.
        strength: share of the way that is gone, in (0, 1]; below 1 the run starts at a partly noised image.

    Raises:
        CompositeError: if the scheduler cannot drive a composite.
    """

    def __init__(
        self, scheduler: Any, schedule: NoiseSchedule, steps: int, device: torch.device | str, strength: float = 1.0
    ) -> None:
        self.scheduler, self.schedule = scheduler, schedule
        self.name = type(scheduler).__name__
        self.wanted = _wanted(scheduler)
        self.own = sampler.is_own(scheduler, schedule)
        if self.own:
            sampler.set_steps(scheduler, steps, device)
        else:
            _call(self.name, lambda: scheduler.set_timesteps(steps, device=device))
        self.noise_scale = float(getattr(scheduler, "init_noise_sigma", 1.0))
        order = int(getattr(scheduler, "order", 1))
        self.begin = (steps - max(1, min(steps, round(steps * strength)))) * order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self.begin)
        self.count = len(scheduler.timesteps) - self.begin
        accepts = inspect.signature(scheduler.step).parameters
        self._takes_generator = "generator" in accepts

    def time(self, index: int) -> torch.Tensor:
        """Return the scheduler's own timestep of a step, counted from the run's first."""
        time: torch.Tensor = self.scheduler.timesteps[self.begin + index]
        return time

    def frame(self, index: int) -> Frame:
        """Return where the state stands before a step; to be called once for every step, in their order."""
        if self.own:
            t = round(float(self.time(index)))
            alpha, sigma = float(self.schedule.alpha_T[t]), float(self.schedule.sigma_T[t])
            log_snr = float(self.schedule.log_snr_T[t])
            return Frame(alpha=alpha, sigma=sigma, net_alpha=alpha, net_sigma=sigma, time=t, log_snr=log_snr)
        alpha, sigma = self._levels(index)
        ratio = 2.0 * (math.log(max(alpha, 1e-30)) - math.log(max(sigma, 1e-30)))
        log_snr = min(max(ratio, -LOG_SNR_LIMIT), LOG_SNR_LIMIT)
        net_alpha, net_sigma = self.schedule.levels_of(log_snr)
        time = self.schedule.fractional_time_of(log_snr)
        return Frame(alpha=alpha, sigma=sigma, net_alpha=net_alpha, net_sigma=net_sigma, time=time, log_snr=log_snr)

    def _levels(self, index: int) -> tuple[float, float]:
        """Return alpha and sigma of the scheduler's state."""
        scheduler, place = self.scheduler, self.begin + index
        if _is_flow(scheduler):
            sigma = float(scheduler.sigmas[place])
            return 1.0 - sigma, sigma
        if self.noise_scale > 1.5:  # variance exploding: it divides by sqrt(sigma^2 + 1) itself
            one = scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), self.time(index))
            return 1.0, math.sqrt(max(float(one) ** -2 - 1.0, 0.0))
        if getattr(scheduler, "sigmas", None) is not None:
            ratio = float(scheduler.sigmas[place])
            alpha = 1.0 / math.sqrt(1.0 + ratio * ratio)
            return alpha, ratio * alpha
        kept = float(scheduler.alphas_cumprod[round(float(self.time(index)))])
        return math.sqrt(kept), math.sqrt(1.0 - kept)

    def start(self, noise_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the state at pure noise."""
        return noise_NCHW * self.noise_scale

    def noised(self, x0_NCHW: torch.Tensor, noise_NCHW: torch.Tensor, frame: Frame) -> torch.Tensor:
        """Return the scheduler's state of an image at a frame."""
        return frame.alpha * x0_NCHW + frame.sigma * noise_NCHW

    def step(
        self,
        prediction_NCHW: torch.Tensor,
        source: Parametrization,
        frame: Frame,
        index: int,
        x_NCHW: torch.Tensor,
        *,
        generator: Generators,
    ) -> torch.Tensor:
        """Return the state one step less noisy.

        Args:
            prediction_NCHW: composed, of kind `source`, at the state as the networks saw it.
            source: the kind of `prediction_NCHW`.
            frame: where the state stands.
            index: which step this is.
            x_NCHW: the scheduler's state.
            generator: of a scheduler that adds noise.
        """
        output_NCHW = self._output(prediction_NCHW, source, frame, x_NCHW)
        options = {"generator": generator} if self._takes_generator else {}
        time = self.time(index)
        moved: torch.Tensor = _call(
            self.name, lambda: self.scheduler.step(output_NCHW, time, x_NCHW, return_dict=False, **options)[0]
        )
        return moved.to(x_NCHW.dtype)

    def _output(
        self, prediction_NCHW: torch.Tensor, source: Parametrization, frame: Frame, x_NCHW: torch.Tensor
    ) -> torch.Tensor:
        net_alpha, net_sigma = x_NCHW.new_tensor(frame.net_alpha), x_NCHW.new_tensor(frame.net_sigma)
        if self.own:
            return convert(prediction_NCHW, source, self.wanted, x_NCHW, alpha=net_alpha, sigma=net_sigma)
        seen_NCHW = x_NCHW * frame.scale
        x0_NCHW = to_x0(prediction_NCHW, source, seen_NCHW, net_alpha, net_sigma)
        eps_NCHW = to_eps(prediction_NCHW, source, seen_NCHW, net_alpha, net_sigma)
        length = math.hypot(frame.alpha, frame.sigma)  # v is defined at alpha^2 + sigma^2 = 1
        alpha, sigma = x_NCHW.new_tensor(frame.alpha / length), x_NCHW.new_tensor(frame.sigma / length)
        return target(self.wanted, x0_NCHW, eps_NCHW, alpha, sigma)


def _is_flow(scheduler: Any) -> bool:
    return type(scheduler).__name__.startswith("FlowMatch") or bool(scheduler.config.get("use_flow_sigmas", False))


def _wanted(scheduler: Any) -> Parametrization:
    name = type(scheduler).__name__
    if not hasattr(scheduler, "config") or not hasattr(scheduler, "set_timesteps"):
        raise CompositeError(f"{name} is no diffusers scheduler with a config; choose another")
    if hasattr(scheduler, "precondition_inputs"):
        raise CompositeError(f"{name} scales a network's inputs and outputs by itself; choose another scheduler")
    if "original_inference_steps" in scheduler.config or not (
        _is_flow(scheduler) or hasattr(scheduler, "alphas_cumprod")
    ):
        raise CompositeError(
            f"{name} is not for networks of this kind; choose, for example, DPMSolverMultistepScheduler"
        )
    kind = "flow_prediction" if _is_flow(scheduler) else scheduler.config.get("prediction_type", "epsilon")
    if kind not in WANTED:
        raise CompositeError(f"{name} wants prediction_type {kind!r}; choose {', '.join(WANTED)}")
    return WANTED[kind]


def _call(name: str, foreign: Any) -> Any:
    try:
        return foreign()
    except (NotImplementedError, ValueError, TypeError) as error:
        line = " ".join(str(error).split())
        raise CompositeError(f"{name} cannot do this: {line}; choose another scheduler or prediction_type") from error
