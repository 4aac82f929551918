"""What a removal changes for the data of the others, measured on banks: the coordinator has no images of anybody.

The default dispatch draws one shard for each sample by lots that hang on the seed and the shard's id alone
(`severable_diffusion.lots`). So the samples that the other shards had made before come out again after, and neither the
leaving shard's weights nor its bank are needed to know which those are: only its id and its lambda. That is why the
figure can be told before a removal, and again after the erasure, and is the same.

Distances are Frechet distances in the features of a classifier (`severable_diffusion.frechet`) that tells the remaining
shards' banks apart. It is trained on every other image of each bank, the images between are the reference, as many of
each shard as its lambda says. Shapes: N samples, M reference images, K shards, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING

import torch
from torch import nn

from severable_diffusion.environment import generator, repeatable, seed_from
from severable_diffusion.errors import CompositeError
from severable_diffusion.evaluation import DEFAULT, draw
from severable_diffusion.frechet import FD_NAME, frechet_distance, train_feature_network
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import Member, ShardSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from severable_diffusion.bank import Bank
    from severable_diffusion.recipe import Recipe

PURPOSE = b"severable retained quality v1"
REPEATS = 200
"""Times that the samples are drawn again from themselves, for the standard error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Departure:
    """Features of what a composite draws before and after shards left it, position by position of one seed.

    Attributes:
        drawn_NF: of the samples after.
        stays_N: which of them the same shard had made before.
        reference_MF: of the others' images.
    """

    drawn_NF: torch.Tensor
    stays_N: torch.Tensor
    reference_MF: torch.Tensor

    def distances(self, rows_N: torch.Tensor | None = None) -> tuple[float, float]:
        """Return the distance to the reference before, without the leaving shards' own samples, and after.

        Args:
            rows_N: positions to look at, with repeats; all by default. As many samples are compared on both sides.
        """
        rows_N = torch.arange(len(self.stays_N)) if rows_N is None else rows_N
        kept_NF = self.drawn_NF[rows_N[self.stays_N[rows_N]]]
        after_NF = self.drawn_NF[rows_N[: len(kept_NF)]]
        return frechet_distance(kept_NF, self.reference_MF), frechet_distance(after_NF, self.reference_MF)

    @property
    def scale(self) -> float:
        """The distance of a generator that gives the reference's mean and nothing else: the reference's variance."""
        return float(self.reference_MF.double().var(dim=0).sum())

    def change(self, rows_N: torch.Tensor | None = None) -> float:
        """Return the change of the distance as a part of `scale`.

        Not of the distance before: banks and samples are of the same shards, so that distance goes to nothing with the
        number of samples, and a part of it would be noise over noise.
        """
        before, after = self.distances(rows_N)
        return (after - before) / self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedQuality:
    """What a removal changes for the others.

    Attributes:
        measure: the distance's name.
        before: distance of the samples that the others made before.
        after: of as many samples after.
        scale: distance of a generator that gives nothing but the reference's mean.
        change: (after - before) / scale; above 0 is worse.
        standard_error: of the change, by a bootstrap over the samples.
        samples: how many were drawn.
        compared: how many of them the others had made before; as many are compared on both sides.
        reference: images of the banks that they are compared with.
        seed: of noise, lots and bootstrap.
    """

    measure: str
    before: float
    after: float
    scale: float
    change: float
    standard_error: float
    samples: int
    compared: int
    reference: int
    seed: int

    @property
    def interval(self) -> tuple[float, float]:
        """The change's 95 % interval."""
        return self.change - 1.96 * self.standard_error, self.change + 1.96 * self.standard_error


def retained_quality(
    remaining: ShardSet,
    banks: Mapping[str, Bank],
    gone: Mapping[str, float],
    *,
    samples: int,
    seed: int,
    told: Callable[[str, int, int], None] | None = None,
) -> RetainedQuality:
    """Measure what the departure of shards changes for those that remain.

    Args:
        remaining: the others, with their lambdas.
        banks: their banks, by id.
        gone: lambda of each leaving shard, by id.
        samples: images to draw.
        seed: of noise, lots, classifier and bootstrap.
        told: called as (what, done, of how many).

    Raises:
        CompositeError: if fewer than two shards remain, banks are missing, or too few samples are the others'.
    """
    if len(remaining.shard_ids) < 2:
        raise CompositeError("one shard remains: there is nothing that a classifier of its bank could tell apart")
    if set(banks) != set(remaining.shard_ids) or not gone:
        raise CompositeError("the measure needs the bank of every remaining shard, and a shard that leaves")
    with repeatable():
        one = _departure(remaining, banks, gone, samples=samples, seed=seed, told=told)
        before, after = one.distances()
        spread = standard_error(one, seed)
    return RetainedQuality(
        measure=f"{FD_NAME} on banks",
        before=before,
        after=after,
        scale=one.scale,
        change=one.change(),
        standard_error=spread,
        samples=samples,
        compared=int(one.stays_N.sum()),
        reference=len(one.reference_MF),
        seed=seed,
    )


def _departure(
    remaining: ShardSet,
    banks: Mapping[str, Bank],
    gone: Mapping[str, float],
    *,
    samples: int,
    seed: int,
    told: Callable[[str, int, int], None] | None,
) -> Departure:
    """Draw from what remains, and see which samples are new."""
    features, reference_NCHW = _yardstick(remaining, banks, seed)
    pipeline = CompositePipeline(remaining, scheduler_for(remaining.recipe))
    pipeline.set_progress_bar_config(disable=True)
    drawn_NCHW = draw(pipeline, DEFAULT, count=samples, seed=seed, told=told).images_NCHW
    one = Departure(
        drawn_NF=features(drawn_NCHW),
        stays_N=_stays(remaining, gone, samples, seed),
        reference_MF=features(reference_NCHW),
    )
    if int(one.stays_N.sum()) < 2:
        raise CompositeError(f"of {samples} samples the remaining shards made fewer than two; draw more")
    return one


def standard_error(one: Departure, seed: int, repeats: int = REPEATS) -> float:
    """Return the bootstrap standard error of the change."""
    count, noise, changes = len(one.stays_N), generator(seed_from(PURPOSE, str(seed).encode())), list[float]()
    while len(changes) < repeats:
        rows_N = torch.randint(count, (count,), generator=noise)
        if int(one.stays_N[rows_N].sum()) >= 2:
            changes.append(one.change(rows_N))
    return stdev(changes)


def _yardstick(
    remaining: ShardSet, banks: Mapping[str, Bank], seed: int
) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """Return a classifier's features, and the reference images."""
    ordered = [banks[shard_id].x_NCHW for shard_id in remaining.shard_ids]
    owner_N = torch.arange(len(ordered)).repeat_interleave(torch.tensor([len(one[::2]) for one in ordered]))
    network = train_feature_network(torch.cat([one_NCHW[::2] for one_NCHW in ordered]), owner_N, seed=seed)
    share_K = remaining.log_lambda_K.double().exp()
    share_K = share_K / share_K.max()
    reference = [
        one_NCHW[1::2][: max(1, round(float(share) * len(one_NCHW[1::2])))]
        for one_NCHW, share in zip(ordered, share_K, strict=True)
    ]
    return network.features, torch.cat(reference)


class _Blank(nn.Module):
    """Stands for a shard where only the lots count: what it says of a sample is looked at by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("nothing", nn.Parameter(torch.zeros(1), requires_grad=False))  # has dtype and device

    def forward(self, x_NCHW: torch.Tensor, *_rest: object, **_options: object) -> tuple[torch.Tensor]:
        """Return zeros."""
        return (torch.zeros_like(x_NCHW),)


def lots_alone(recipe: Recipe, shares: Mapping[str, float]) -> CompositePipeline:
    """Return a composite of blank networks, with the lambdas given by shard id: it draws lots, and no images."""
    members = {shard_id: Member(share=share) for shard_id, share in shares.items()}
    pipeline = CompositePipeline(
        ShardSet(recipe, {shard_id: _Blank() for shard_id in members}, members), scheduler_for(recipe)
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _stays(remaining: ShardSet, gone: Mapping[str, float], samples: int, seed: int) -> torch.Tensor:
    """Return which samples the remaining shards had made before, by drawing lots for all shards."""
    shares = {shard_id: one.share for shard_id, one in remaining.members.items()} | dict(gone)
    pipeline = lots_alone(remaining.recipe, shares)
    attribution = draw(pipeline, DEFAULT, count=samples, seed=seed).attribution
    if attribution.realised_N is None:
        raise CompositeError("the default dispatch binds no sample to a shard; this measure needs one that does")
    own = torch.tensor([attribution.shard_ids.index(shard_id) for shard_id in remaining.shard_ids])
    return torch.isin(attribution.realised_N, own)
