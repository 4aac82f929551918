"""Figure 7: what dropping one shard changes for the data of the others.

Shapes: N samples, M retained images, F features, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion.environment import generator
from severable_diffusion.frechet import frechet_distance

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.composites import Samples
    from quality.splits import Part

REPEATS = 50
"""Times at the most that the samples are drawn again from themselves, for the standard error."""
EACH = 40
"""Samples that a repeat asks for: a run of few samples is not worth many."""
SEED = 20261126


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Removal:
    """Features of what a composite drew before and after one shard left it, position by position of one seed.

    Attributes:
        before_NF: of the whole composite.
        stays_N: which of these another shard made.
        after_NF: of the composite rebuilt without the shard.
        reference_MF: of the images of the others.
        as_many: compare as many samples on both sides, since a distance grows as samples get fewer. With tens of
            thousands that is nothing, and leaving samples out is the larger error: then say no.
    """

    before_NF: torch.Tensor
    stays_N: torch.Tensor
    after_NF: torch.Tensor
    reference_MF: torch.Tensor
    as_many: bool = True

    def distances(self, rows_N: torch.Tensor | None = None) -> tuple[float, float]:
        """Return the distance to the retained images before, without the shard's own samples, and after.

        Args:
            rows_N: positions to look at, with repeats; all by default.
        """
        rows_N = torch.arange(len(self.stays_N)) if rows_N is None else rows_N
        kept_NF = self.before_NF[rows_N[self.stays_N[rows_N]]]
        after_NF = self.after_NF[rows_N[: len(kept_NF)] if self.as_many else rows_N]
        return frechet_distance(kept_NF, self.reference_MF), frechet_distance(after_NF, self.reference_MF)

    def change(self, rows_N: torch.Tensor | None = None) -> float:
        """Return the relative change of the distance."""
        before, after = self.distances(rows_N)
        return after / before - 1.0


def drop_one(bench: Bench, split: str) -> dict[str, Any]:
    """Measure what dropping one shard changes for the data of the others, for every shard in turn.

    Before: samples of the whole composite, without those that the dropped shard made. After: samples of the composite
    rebuilt without it, from the same seed. The samples that other shards had made come out again
    (`severable_diffusion.lots`), so the removals of one seed share most of their samples, and are no independent
    trials: the standard error of their mean is a bootstrap's over positions, all removals at once.
    """
    federation = bench.federation(split)
    before = bench.draw(federation, None, "draw_once", "prior", count=2 * bench.size.samples)
    before_NF = bench.features(before.x_NCHW)
    told, removals = {}, []
    for place, part in enumerate(bench.parts(split)):
        after = bench.draw(federation.without(part.name), None, "draw_once", "prior", count=2 * bench.size.samples)
        rows_N = torch.cat([other.rows_N for other in bench.parts(split) if other.name != part.name])
        one = Removal(
            before_NF=before_NF,
            stays_N=before.realised_N != place,
            after_NF=bench.features(after.x_NCHW),
            reference_MF=bench.features(bench.images.train_NCHW[rows_N]),
        )
        told[part.name] = _told(bench, part, one, before, after)
        removals.append(one)
    repeats = max(2, min(REPEATS, bench.size.samples // EACH))
    return {
        "removals": told,
        "mean_change": mean(one["change"] for one in told.values()),
        "standard_error": standard_error(removals, repeats),
        "repeats": repeats,
    }


def standard_error(removals: list[Removal], repeats: int = REPEATS) -> float:
    """Return the bootstrap standard error of the removals' mean change."""
    count, noise, means = len(removals[0].stays_N), generator(SEED), list[float]()
    for _ in range(repeats):
        rows_N = torch.randint(count, (count,), generator=noise)
        means.append(mean(one.change(rows_N) for one in removals))
    return stdev(means)


def _told(bench: Bench, part: Part, one: Removal, before: Samples, after: Samples) -> dict[str, float]:
    held = torch.tensor(sorted(set(bench.images.train_label_N[part.rows_N].tolist())))
    distances = one.distances()
    found = {
        "before": distances[0],
        "after": distances[1],
        "change": distances[1] / distances[0] - 1.0,
        "samples": int(one.stays_N.sum()),
        "dropped_classes_before": _share_of(bench, before.x_NCHW, held),
        "dropped_classes_after": _share_of(bench, after.x_NCHW, held),
    }
    if bench.size.recipe.conditions is None:  # labels are asked for in turns, and now there are fewer
        apart_NCHW = after.x_NCHW[one.stays_N] - before.x_NCHW[one.stays_N]
        found["farthest_pixel_of_samples_of_others"] = float(apart_NCHW.abs().max())
    return found


def _share_of(bench: Bench, x_NCHW: torch.Tensor, held: torch.Tensor) -> float:
    return float(torch.isin(bench.features.labels(x_NCHW), held).double().mean())
