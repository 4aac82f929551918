"""Drawing a set of samples batch by batch: resumable, on any device, with labels drawn evenly where there are labels.

Shapes: N samples, K shards, S sampler steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from quality import work
from quality.run import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from quality.run import Run
    from severable_diffusion.composition import Dispatch
    from severable_diffusion.pipeline import CompositePipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What samples of a recipe with conditions are asked for by; other recipes know none of it.

    Attributes:
        labelled: whether each image is asked for by a label, all that some shard has seen alike often.
        guidance: scale of classifier-free guidance; 1 for none.
    """

    labelled: bool = True
    guidance: float = 1.0


LABELLED = Asked()
UNLABELLED = Asked(labelled=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """What to draw.

    Attributes:
        dispatch: of the composite: its name or itself.
        count: how many images.
        batch: how many at a time.
        steps: sampler steps; None for the recipe's.
        seed: of the noise.
        label_N: what each image is asked for by; None for nothing.
        guidance: see `Asked`.
        allowed: names of the shards that may be used; None for all.
    """

    dispatch: str | Dispatch
    count: int
    batch: int
    steps: int | None
    seed: int
    label_N: torch.Tensor | None = None
    guidance: float = 1.0
    allowed: tuple[str, ...] | None = None


def evenly(counts: Sequence[Sequence[int]], number: int) -> torch.Tensor:
    """Return `number` labels in turns, of those that are in any of the shards' counts: every prefix of them is even."""
    known = torch.tensor(counts).sum(dim=0).nonzero()[:, 0]
    return known[torch.arange(number) % len(known)]


def placed(network: torch.nn.Module, device: str) -> Callable[..., Any]:
    """Return a network that computes on a device and takes and gives tensors on the CPU; itself on the CPU."""
    if device == "cpu":
        return network
    network.to(device)

    def forward(*tensors: torch.Tensor | float, class_labels: torch.Tensor | None = None, **options: Any) -> Any:
        moved = [one.to(device) if isinstance(one, torch.Tensor) else one for one in tensors]
        told = {} if class_labels is None else {"class_labels": class_labels.to(device)}
        return tuple(one.cpu() for one in network(*moved, **told, **options))

    return forward


def drawn(
    pipeline: CompositePipeline, order: Order, run: Run, unfinished: Path
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return tensors x, trajectory and realised of all samples, and facts: seconds an image, evaluations, log_snr.

    Args:
        pipeline: of the composite.
        order: what to draw.
        run: where, and until when.
        unfinished: where the batches that are done are kept in the meantime.

    Raises:
        OutOfTimeError: if the run's time was over before.
    """
    noise = torch.Generator().manual_seed(1000 + order.seed)
    state = work.kept_state(unfinished) or {"parts": [], "seconds": 0.0, "noise": noise.get_state()}
    noise.set_state(state["noise"])
    parts, begun, saved = list(state["parts"]), run.seconds(), run.seconds()
    for start in range(len(parts) * order.batch, order.count, order.batch):
        if run.over:
            _keep(unfinished, parts, noise, state["seconds"] + run.seconds() - begun)
            raise OutOfTimeError
        if run.seconds() - saved > run.checkpoint_every:
            _keep(unfinished, parts, noise, state["seconds"] + run.seconds() - begun)
            saved = run.seconds()
        parts.append(_batch(pipeline, order, start, noise))
    seconds = (state["seconds"] + run.seconds() - begun) / order.count
    tensors = {
        "x": torch.cat([part["x"] for part in parts]),
        "trajectory": torch.cat([part["trajectory"] for part in parts], dim=1).half(),
        "realised": torch.cat([part["realised"] for part in parts]),
    }
    evaluations = sum(part["evaluations"] for part in parts) / len(parts)
    unfinished.unlink(missing_ok=True)
    return tensors, {"seconds": seconds, "evaluations": evaluations, "log_snr": list(parts[0]["log_snr"])}


def _keep(path: Path, parts: list[dict[str, Any]], noise: torch.Generator, seconds: float) -> None:
    work.keep_state(path, {"parts": parts, "seconds": seconds, "noise": noise.get_state()})


def _batch(pipeline: CompositePipeline, order: Order, start: int, noise: torch.Generator) -> dict[str, Any]:
    size = min(order.batch, order.count - start)
    label_N = None if order.label_N is None else order.label_N[start : start + size]
    x_NCHW, attribution = pipeline(
        batch_size=size,
        generator=noise,
        num_inference_steps=order.steps,
        condition=label_N,
        guidance_scale=order.guidance,
        dispatch=order.dispatch,
        allowed=order.allowed,
        output_type="pt",
        return_dict=False,
    )
    realised_N = torch.full((size,), -1) if attribution.realised_N is None else attribution.realised_N
    return {
        "x": x_NCHW.cpu(),
        "trajectory": attribution.trajectory_SNK,
        "realised": realised_N,
        "evaluations": attribution.evaluations_per_step,
        "log_snr": list(attribution.log_snr),
    }
