"""How a computation is executed, apart from what is computed: device, precision, memory layout, compilation, threads.

A plan is no part of a recipe or of its digest. The default plan is the one that byte equality is stated for (see
`severable_diffusion.environment`): CPU, float32, not compiled, one thread. Under any other plan:

- the draws are the same: batches, times and noise come from a CPU generator and are moved;
- sums are rounded otherwise, so the weights differ from the default plan's, and the loss agrees only about;
- two runs of one plan on one machine gave the same bytes, on the CPU and on a GPU (tests). A GPU's fastest kernels may
  add in any order, so a training takes only those that do not (`ExecutionPlan.repeating`).

A shard enters a composite by its digest, so a shard may be trained under any plan. Banks and routers may not: the proof
of a removal makes them again and compares bytes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """How to run a network.

    Attributes:
        device: where torch computes: "cpu", "cuda", "cuda:1".
        autocast: the narrower type for convolutions and matrix products, torch.bfloat16 or torch.float16; None computes
            all in float32. Weights, optimizer state, moving average and loss are float32 in any case.
        channels_last: keep images and convolution weights in NHWC order.
        compile: hand the network to torch.compile; needs a C++ compiler, and about a minute before the first step.
        threads: torch's threads, 1 or more.
        accumulate: parts that a batch goes through the network in, 1 or more; the gradient is the whole batch's, up to
            rounding, and the memory that activations take is a part's.
    """

    device: str = "cpu"
    autocast: torch.dtype | None = None
    channels_last: bool = False
    compile: bool = False
    threads: int = 1
    accumulate: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one that computes while the processor does something else."""
        return torch.device(self.device).type == "cuda"

    def place(self, model: torch.nn.Module) -> None:
        """Move a network to the device and into the memory layout, in place."""
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form

    def forward(self, model: torch.nn.Module) -> Callable[..., Any]:
        """Return the placed network's forward pass, compiled if the plan says so."""
        if not self.compile:
            return model
        compiled: Callable[..., Any] = torch.compile(model)
        return compiled

    def image(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return images on the device and in the memory layout; the same tensor if it is there already."""
        if self.channels_last:
            return x_NCHW.to(self.device, memory_format=torch.channels_last)
        return x_NCHW.to(self.device)

    def asked_on_the_cpu(self, network: Callable[..., Any]) -> Callable[..., tuple[torch.Tensor]]:
        """Return a network that was placed by this plan as one that is asked, and answers, on the CPU."""

        def ask(
            x_NCHW: torch.Tensor,
            time: float | torch.Tensor,
            class_labels: torch.Tensor | None = None,
            *,
            return_dict: bool = False,
        ) -> tuple[torch.Tensor]:
            if isinstance(time, torch.Tensor):
                time = time.to(self.device)
            labels = {} if class_labels is None else {"class_labels": class_labels.to(self.device)}
            return (network(self.image(x_NCHW), time, **labels, return_dict=return_dict)[0].to("cpu"),)

        return ask

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the forward pass runs."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=self.autocast)

    def scaler(self) -> torch.amp.GradScaler | None:
        """Return what scales the loss so that small gradients survive float16; None where they need no help."""
        return torch.amp.GradScaler(torch.device(self.device).type) if self.autocast is torch.float16 else None

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """Run the block with kernels that add in one order, where the device is a GPU; process wide.

        Raises:
            RuntimeError: in the block, where torch has no such kernel for an operation.
        """
        if not self.on_gpu:
            yield
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch_s: Any = torch.utils.deterministic  # torch's types do not know what this module holds
        before = torch.are_deterministic_algorithms_enabled(), torch_s.fill_uninitialized_memory
        torch.use_deterministic_algorithms(mode=True)
        torch_s.fill_uninitialized_memory = False  # nothing here reads what it did not write
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch_s.fill_uninitialized_memory = before[1]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the block with the plan's number of torch threads; like `environment.repeatable`, process wide."""
        with environment.repeatable():
            torch.set_num_threads(self.threads)
            yield

    def describe(self) -> dict[str, str]:
        """Return the facts on which the bytes of what this plan makes depend, by name."""
        facts = environment.describe() | {"threads": str(self.threads)}
        if self.autocast is not None:
            facts["dtype"] += f", autocast {str(self.autocast).removeprefix('torch.')}"
        chosen = {
            "device": self.device != "cpu",
            "channels_last": self.channels_last,
            "compile": self.compile,
            "accumulate": self.accumulate > 1,
        }
        return facts | {name: str(getattr(self, name)) for name, other in chosen.items() if other}


DEFAULT = ExecutionPlan()
