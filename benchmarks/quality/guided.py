"""What is measured of recipes with conditions alone: guidance, and the same networks asked for nothing.

Shards of different classes are told apart by the label itself: p(i | c) is 1 for one of them, and the router has
nothing to say. Where a router matters for them is the branch without a label, which guidance needs, and so it is
measured by itself too. Shapes: N samples, S steps, K shards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from quality import builds
from quality.distances import told_of
from quality.draws import UNLABELLED, Asked
from quality.measures import MEASURES, Measure
from quality.splits import CLASS_SPLITS, EVERYTHING, owner_of

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.plan import Size

SCALES = (1.0, 1.5)


def guided(bench: Bench, split: str) -> dict[str, Any]:
    """Measure images asked for by label, with and without guidance, and their ratio to the monolith's alike."""
    federation = bench.federation(split)
    built = builds.joint(federation)
    found: dict[str, Any] = {}
    for scale in SCALES:
        asked = Asked(guidance=scale)
        one = {
            "monolith": told_of(bench, bench.draw(bench.monolith, None, "draw_once", "monolith", asked=asked)),
            "joint": told_of(bench, bench.draw(federation, built, "cumulative", "joint-cumulative", asked=asked)),
        }
        if scale == 1.0:  # without a router, the branch without a label would be mixed by the lambdas
            one["prior"] = told_of(bench, bench.draw(federation, None, "draw_once", "prior", asked=asked))
        found[f"guidance_{scale:g}"] = one | {"ratio": _ratios(one)}
    return found


def unlabelled(bench: Bench, split: str) -> dict[str, Any]:
    """Measure images asked for by nothing: here the router alone tells whose a state is."""
    federation = bench.federation(split)
    built = builds.joint(federation)
    joint = bench.draw(federation, built, "cumulative", "joint-cumulative", asked=UNLABELLED)
    drawn = {
        "monolith": bench.draw(bench.monolith, None, "draw_once", "monolith", asked=UNLABELLED),
        "joint": joint,
        "prior": bench.draw(federation, None, "draw_once", "prior", asked=UNLABELLED),
        "naive": bench.draw(federation, None, "uniform", "naive", count=bench.few, asked=UNLABELLED),
    }
    one = {name: told_of(bench, samples) for name, samples in drawn.items()}
    found: dict[str, Any] = one | {"ratio": _ratios(one)}
    if split in CLASS_SPLITS:
        table = torch.tensor([federation.names.index(owner_of(split, label)) for label in range(10)])
        owner_N = table[bench.features.labels(joint.x_NCHW)]
        credited_N = torch.where(joint.realised_N >= 0, joint.realised_N, joint.trajectory_SNK[-1].argmax(dim=1))
        found["attribution"] = float((credited_N == owner_N).double().mean())
    return found


def _ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    mono = found["monolith"]["distance"]
    return {name: one["distance"] / mono for name, one in found.items() if name != "monolith"}


def _guided(split: str) -> Measure:
    return Measure(name=f"guided-{split}", splits=(split, EVERYTHING), run=lambda bench: guided(bench, split))


def _unlabelled(split: str) -> Measure:
    return Measure(name=f"unlabelled-{split}", splits=(split, EVERYTHING), run=lambda bench: unlabelled(bench, split))


CONDITIONAL = (_guided("class-10"), _unlabelled("class-10"), _guided("class-8"))


def measures_of(size: Size) -> tuple[Measure, ...]:
    """Return what is measured of a size, in its order where it has one."""
    known = MEASURES if size.recipe.conditions is None else (*MEASURES, *CONDITIONAL)
    if size.measures is None:
        return known
    by_name = {measure.name: measure for measure in known}
    return tuple(by_name[name] for name in size.measures)
