"""Where and how a training computes: from an owner's configuration to the plan of each of its processes.

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
        accumulate: parts that a process's images of a batch go through the network in.
        threads: CPU threads of each process.
        processes: how many train together; on GPUs one for each, from cuda:0 on.
    """

    device: str = "cpu"
    precision: str = AUTO
    accumulate: int = 1
    threads: int = 1
    processes: int = 1

    def device_of(self, rank: int) -> str:
        """Return where a process computes."""
        return self.device if self.device == "cpu" or self.processes == 1 else f"cuda:{rank}"

    def word(self) -> str:
        """Return what the precision comes to; the devices are there."""
        return word_for(self.precision, self.device_of(0))

    def plan(self, rank: int = 0) -> ExecutionPlan:
        """Return how one of the processes computes.

        Raises:
            TrainingError: its device is not there.
        """
        device = self.device_of(rank)
        if device != "cpu" and not has(device):
            field = f"field 'device' is {self.device}"
            if self.processes > 1:
                field += f", field 'devices' is {self.processes}"
            raise TrainingError(f"config.yaml: {field}, and torch finds no {device} here")
        return ExecutionPlan(
            device=device, autocast=TYPES[self.word()], accumulate=self.accumulate, threads=self.threads
        )

    def unusual(self) -> dict[str, str]:
        """Return by name what is not as for float32 in one process on the CPU."""
        facts = {"device": self.device, "precision": self.word(), "processes": str(self.processes)}
        usual = {"device": "cpu", "precision": "float32", "processes": "1"}
        return {name: value for name, value in facts.items() if value != usual[name]}

    def describe(self) -> str:
        """Return one line for people; raises TrainingError where a device is not there."""
        for rank in range(self.processes):
            self.plan(rank)
        where = f"{self.processes} processes" if self.processes > 1 else "one process"
        devices = " and ".join(dict.fromkeys(self.device_of(rank) for rank in range(self.processes)))
        return f"{where} of {self.threads} CPU threads on {devices}, in {self.word()} (`precision` is {self.precision})"


USUAL = Placement()


def has(device: str) -> bool:
    """Whether torch finds a GPU; `device` is cuda or cuda:N."""
    index = torch.device(device).index or 0
    return torch.cuda.is_available() and index < torch.cuda.device_count()
