"""Where and how a training computes: from an owner's configuration to the plan of a training.

Only processes that load torch import this module.
"""

from dataclasses import dataclass

import torch

from severable_client.errors import TrainingError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.precision import AUTO, TYPES, word_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how a training computes.

    Attributes:
        device: cpu, cuda or cuda:N.
        precision: auto, or one of `severable_diffusion.precision.TYPES`.
        accumulate: parts that a batch goes through the network in.
        threads: CPU threads.
    """

    device: str = "cpu"
    precision: str = AUTO
    accumulate: int = 1
    threads: int = 1

    def word(self) -> str:
        """Return what the precision comes to; the device is there."""
        return word_for(self.precision, self.device)

    def plan(self) -> ExecutionPlan:
        """Return how the training computes.

        Raises:
            TrainingError: its device is not there.
        """
        if self.device != "cpu" and not has(self.device):
            raise TrainingError(f"config.yaml: field 'device' is {self.device}, and torch finds no such device here")
        return ExecutionPlan(
            device=self.device, autocast=TYPES[self.word()], accumulate=self.accumulate, threads=self.threads
        )

    def unusual(self) -> dict[str, str]:
        """Return by name what is not as for float32 on the CPU."""
        facts, usual = {"device": self.device, "precision": self.word()}, {"device": "cpu", "precision": "float32"}
        return {name: value for name, value in facts.items() if value != usual[name]}

    def describe(self) -> str:
        """Return one line for people; raises TrainingError where the device is not there."""
        self.plan()
        return f"{self.threads} CPU threads, on {self.device}, in {self.word()} (`precision` is {self.precision})"


USUAL = Placement()


def has(device: str) -> bool:
    """Whether torch finds a GPU; `device` is cuda or cuda:N."""
    index = torch.device(device).index or 0
    return torch.cuda.is_available() and index < torch.cuda.device_count()
