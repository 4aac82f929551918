"""Measuring a composite against real images: how far its samples are, what they cost, whose they are.

A composite is drawn from in several ways, always from the same noise: as it is used by default, as a routed mixture, by
naive averaging (a negative control: what happens without a router), and from each shard alone.
Shapes: N images, K shards, C, H, W.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion.attribution import Attribution
from severable_diffusion.environment import generator
from severable_diffusion.pipeline import DEFAULT_DISPATCH, CompositePipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from severable_diffusion.yardstick import Yardstick

BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of drawing from a composite.

    Attributes:
        name: for people.
        dispatch: as the pipeline takes it.
        shard: the only shard that may be used; None for all.
    """

    name: str
    dispatch: str
    shard: str | None = None


DEFAULT = Way(name=f"default ({DEFAULT_DISPATCH})", dispatch=DEFAULT_DISPATCH)
CUMULATIVE = Way(name="routed mixture (cumulative)", dispatch="cumulative")
NAIVE = Way(name="naive averaging (negative control)", dispatch="uniform")


def alone(names: Mapping[str, str]) -> tuple[Way, ...]:
    """Return the ways of drawing from one shard, for each of some shard ids with what to call them."""
    return tuple(
        Way(name=f"{name} alone", dispatch=DEFAULT_DISPATCH, shard=shard) for shard, name in sorted(names.items())
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Samples.

    Attributes:
        way: how they were drawn.
        images_NCHW: in [-1, 1].
        attribution: whose they are.
        processor_seconds: that drawing took, summed over threads.
    """

    way: Way
    images_NCHW: torch.Tensor
    attribution: Attribution
    processor_seconds: float

    @property
    def seconds_per_image(self) -> float:
        """Processor seconds per image."""
        return self.processor_seconds / len(self.images_NCHW)


def draw(
    pipeline: CompositePipeline,
    way: Way,
    *,
    count: int,
    seed: int,
    told: Callable[[str, int, int], None] | None = None,
) -> Drawn:
    """Draw images in batches of `BATCH`.

    Args:
        pipeline: the composite.
        way: how.
        count: how many.
        seed: of the noise, the same for every way, and of draws.
        told: called as (what, steps done, steps in all).

    Raises:
        CompositeError: if the composite cannot be drawn from in this way.
    """
    noise, before = generator(seed), time.process_time()
    parts: list[tuple[torch.Tensor, Attribution]] = []
    sizes = [min(BATCH, count - begun) for begun in range(0, count, BATCH)]
    steps = pipeline.shards.recipe.sampler.steps
    for place, size in enumerate(sizes):

        def stepped(
            _pipe: CompositePipeline, step: int, _time: float, values: dict[str, torch.Tensor], place: int = place
        ) -> dict[str, torch.Tensor]:
            if told is not None:
                told(f"drawing, {way.name}", place * steps + step + 1, len(sizes) * steps)
            return values

        parts.append(
            pipeline(
                batch_size=size,
                generator=noise,
                dispatch=way.dispatch,
                allowed=None if way.shard is None else [way.shard],
                output_type="pt",
                return_dict=False,
                callback_on_step_end=stepped,
            )
        )
    return Drawn(
        way=way,
        images_NCHW=torch.cat([images_NCHW for images_NCHW, _ in parts]),
        attribution=Attribution.joined([attribution for _, attribution in parts]),
        processor_seconds=time.process_time() - before,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Samples, and their Frechet distance to real images."""

    drawn: Drawn
    distance: float


def measure(
    pipeline: CompositePipeline,
    yardstick: Yardstick,
    ways: Sequence[Way],
    *,
    count: int,
    seed: int,
    told: Callable[[str, int, int], None] | None = None,
) -> Iterator[Measured]:
    """Draw and measure in one way after another; the same arguments give the same figures, but for the seconds.

    Args:
        pipeline: the composite.
        yardstick: where distances are measured.
        ways: how to draw.
        count: images of each way, at least 2.
        seed: of the noise and of draws.
        told: see `draw`.
    """
    for way in ways:
        drawn = draw(pipeline, way, count=count, seed=seed, told=told)
        yield Measured(drawn=drawn, distance=yardstick.distance(drawn.images_NCHW))
