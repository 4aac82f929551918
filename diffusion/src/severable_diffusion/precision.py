"""In which type of number a training multiplies: the word of an owner's configuration, and what it comes to.

Weights, optimizer state, moving average and loss are float32 whatever the word: torch's autocast narrows convolutions
and matrix products alone. float16 has five bits for the exponent, so small gradients would become 0; there the loss is
scaled up before the backward pass and the gradients down after it (Micikevicius et al., arXiv 1710.03740).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AUTO = "auto"
TYPES: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
NATIVE_BFLOAT16 = 8  # compute capability from which a GPU multiplies bfloat16 itself (NVIDIA's Ampere)


def word_for(
    precision: str,
    device: str,
    capability: Callable[[str], tuple[int, int]] = torch.cuda.get_device_capability,
) -> str:
    """Return one of `TYPES`: what a configuration's word comes to on a device.

    Args:
        precision: auto, or one of `TYPES` itself.
        device: "cpu", "cuda", "cuda:1"; it is there.
        capability: asks a GPU for its compute capability, major and minor.
    """
    if precision != AUTO:
        return precision
    return "bf16" if device != "cpu" and capability(device)[0] >= NATIVE_BFLOAT16 else "float32"


def descend(
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    parameters: Iterable[torch.Tensor],
    *,
    rate: float,
    clip: float,
) -> None:
    """Let an optimizer take its step down the gradients that lie at its parameters.

    Args:
        optimizer: of the parameters.
        scaler: that the loss was scaled by; it leaves a step out whose gradients are not finite, and then scales less.
        parameters: the optimizer's.
        rate: learning rate.
        clip: largest norm of the gradient.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    if scaler is not None:
        scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
