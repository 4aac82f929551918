"""One run of the program: where it computes, and how long it may.

A run that may last only so long stops where it can go on: a training after a step, samples after a batch. What cannot
be interrupted (a router, the feature network, what is computed of samples: some minutes at most) is begun in the first
half alone: the program then ends early, and the next run begins with it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch

from severable_diffusion.execution import DEFAULT, ExecutionPlan


class OutOfTimeError(Exception):
    """The run's time is over, and what was computed is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and how long; the times are the system's monotonic clock, which all processes of a machine share.

    Attributes:
        plan: how networks are trained and, for its device, where samples are drawn and features computed.
        compile_from: steps that must be left for `plan.compile` to pay; a shorter training is not compiled.
        begun: when it began, after the images were read.
        ends: when it stops; infinite for never.
        checkpoint_every: seconds of unfinished work that are lost when the program is killed.
    """

    plan: ExecutionPlan = DEFAULT
    compile_from: int = 0
    begun: float = field(default_factory=time.monotonic)
    ends: float = math.inf
    checkpoint_every: float = 60.0

    @property
    def device(self) -> str:
        """Where samples are drawn and features computed."""
        return self.plan.device

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.ends

    def check(self) -> None:
        """Raise `OutOfTimeError` if the time is over."""
        if self.over:
            raise OutOfTimeError

    def make_room(self) -> None:
        """Raise `OutOfTimeError` if more than half of the time is over: for what cannot be interrupted."""
        if time.monotonic() - self.begun > 0.5 * (self.ends - self.begun):
            raise OutOfTimeError

    def seconds(self) -> float:
        """Return a clock's seconds: processor time on the CPU, and on another device real time, once it is idle."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.monotonic()

    def describe(self) -> dict[str, str] | None:
        """Return what the bytes of the results depend on, or None for the plan that byte equality is stated for."""
        if self.plan == DEFAULT:
            return None
        facts = self.plan.describe()
        if self.device.startswith("cuda") and torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name(self.device)
        return facts


ALONE = Run()
"""The CPU, one thread, until it is done."""
