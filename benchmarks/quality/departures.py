"""Figures 8 and 15: what a composite still knows of a party that left, and three ways to route without it.

Shapes: N images, L noise levels, C, H, W.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from quality import builds
from quality.distances import told_of
from severable_diffusion import network
from severable_diffusion.environment import generator
from severable_diffusion.membership_attack import area_under_curve
from severable_diffusion.parametrization import Parametrization, target
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.composites import Federation
    from quality.shards import Shard

ASKED = 1000
"""Images of the party, and as many that nobody trained on."""
LEVELS = (0.3, 1.0, 3.0)
"""sigma / alpha at which the attacker compares losses."""


def membership(bench: Bench, split: str) -> dict[str, Any]:
    """Attack the first party's privacy by losses: are its training images told from test images of its classes?

    The attacker holds networks and ranks images by their loss, the mean over the networks. An area under the curve of
    0.5 is guessing. `own_shard` is what the shard itself gives away, `without_it` what the other shards know of it.
    """
    federation = bench.federation(split)
    part = bench.parts(split)[0]
    held = torch.tensor(sorted(set(bench.images.train_label_N[part.rows_N].tolist())))
    members_NCHW = bench.images.train_NCHW[part.rows_N[:ASKED]]
    others_NCHW = bench.images.test_NCHW[torch.isin(bench.images.test_label_N, held)][:ASKED]
    loss = {
        shard.name: (_loss(federation, shard, members_NCHW), _loss(federation, shard, others_NCHW))
        for shard in federation.shards
    }

    def attacked(names: list[str]) -> float:
        members_N, others_N = (torch.stack([loss[name][side] for name in names]).mean(dim=0) for side in (0, 1))
        return area_under_curve(-members_N, -others_N)

    rest = [name for name in federation.names if name != part.name]
    count, other = len(members_NCHW), len(others_NCHW)
    return {
        "party": part.name,
        "own_shard": attacked([part.name]),
        "with_it": attacked(list(federation.names)),
        "without_it": attacked(rest),
        "standard_error_of_guessing": math.sqrt((count + other + 1) / (12 * count * other)),
        "members": count,
        "others": other,
    }


def _loss(federation: Federation, shard: Shard, x0_NCHW: torch.Tensor) -> torch.Tensor:
    """Return each image's loss (N,), the mean over the levels; the noise is the same for every shard."""
    recipe = federation.recipe
    schedule, denoiser = NoiseSchedule.of(recipe.process), federation.denoiser(shard)
    found_LN = []
    for place, level in enumerate(LEVELS):
        t_N = schedule.time_of(torch.full((len(x0_NCHW),), -2.0 * math.log(level)))
        eps_NCHW = torch.randn(x0_NCHW.shape, generator=generator(place))
        alpha_N111, sigma_N111 = schedule.at(t_N)
        wanted_NCHW = target(Parametrization(recipe.parametrization), x0_NCHW, eps_NCHW, alpha_N111, sigma_N111)
        x_t_NCHW = alpha_N111 * x0_NCHW + sigma_N111 * eps_NCHW
        label_N = None if recipe.conditions is None else torch.full((len(x0_NCHW),), recipe.labels)
        with torch.no_grad():
            predicted_NCHW = network.predict(denoiser, x_t_NCHW, t_N, label_N)
        found_LN.append((predicted_NCHW - wanted_NCHW).square().mean(dim=(1, 2, 3)))
    return torch.stack(found_LN).mean(dim=0)


def rerouted(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the composite without its first party, against the others' images: routed in three ways, and by lambda.

    Masked: the router of the whole set, the party's weight set to nothing, which is inactive and not yet forgotten.
    Rebuilt: a router that never saw it. Heads: those of the others as they stand.
    """
    whole = bench.federation(split)
    part = bench.parts(split)[0]
    fewer = whole.without(part.name)
    public_NCHW, label_N = bench.images.test_NCHW[::2], bench.images.test_label_N[::2]
    count, rows_N = bench.size.samples // 2, torch.cat([o.rows_N for o in bench.parts(split) if o.name != part.name])
    drawn = {
        "masked": bench.draw(
            whole, builds.joint(whole), "cumulative", "joint-masked", count=count, allowed=fewer.names
        ),
        "rebuilt": bench.draw(fewer, builds.joint(fewer), "cumulative", "joint-cumulative", count=count),
        "heads": bench.draw(
            fewer, builds.heads(fewer, public_NCHW, label_N), "cumulative", "heads-cumulative", count=count
        ),
        "prior": bench.draw(fewer, None, "draw_once", "prior", count=count),
    }
    found: dict[str, Any] = {name: bench.distance(samples.x_NCHW, rows_N) for name, samples in drawn.items()}
    found["masked_over_rebuilt"] = found["masked"] / found["rebuilt"]
    found["heads_over_rebuilt"] = found["heads"] / found["rebuilt"]
    return found | {"party": part.name, "samples": count}


def by_real_data(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the composite with a router trained on the parties' real images, which no coordinator could have."""
    federation = bench.federation(split)
    built = builds.from_real_data(federation, bench.images_of(split), bench.labels_of(split))
    joint = bench.draw(federation, builds.joint(federation), "cumulative", "joint-cumulative")
    mixed = told_of(bench, bench.draw(federation, built, "cumulative", "real-cumulative"))
    banks = told_of(bench, joint)["distance"]
    return {"cumulative": mixed, "banks_over_real_data": banks / mixed["distance"]}
