"""Figures 1 to 7: distances of composites, by split and by how they are dispatched."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from quality import builds, composites
from quality.credit import LATE
from quality.splits import EVERYTHING
from severable_diffusion.composition import DrawAt, TopK

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.composites import Federation, Samples

LONE_SAMPLES = 600
MORE_STEPS = 3
"""How many times the recipe's sampler steps, to see whether drawing anew at every step gets better with more."""
COST_IMAGES, COST_TURNS = 512, 5


def told_of(bench: Bench, samples: Samples) -> dict[str, float]:
    """Return a dispatch's distance and what it cost."""
    return {
        "distance": bench.distance(samples.x_NCHW),
        "evaluations_per_step": samples.evaluations,
        "processor_seconds_per_image": samples.seconds,
    }


def monolith(bench: Bench) -> dict[str, Any]:
    """Measure the monolith, and the floor: real test images against real training images."""
    mono = bench.monolith
    many = bench.draw(mono, None, "draw_once", "monolith")
    few = bench.draw(mono, None, "draw_once", "monolith", count=bench.few)
    return {
        **told_of(bench, many),
        "distance_of_few": bench.distance(few.x_NCHW),
        "real_test_images": bench.distance(bench.images.test_NCHW[: bench.size.samples]),
        "feature_network": bench.features.name,
        "feature_accuracy": bench.features.accuracy,
        "training_seconds": mono.shards[0].seconds,
        "training_steps": mono.shards[0].steps,
    }


def wide(bench: Bench) -> dict[str, Any]:
    """Measure the monolith of as many parameters as ten shards, trained on as many images as the other one."""
    large, one = bench.federation(EVERYTHING, recipe=bench.size.wider), bench.monolith
    told = told_of(bench, bench.draw(large, None, "draw_once", "wide"))
    numbers = {
        name: sum(tensor.numel() for tensor in federation.shards[0].weights.values())
        for name, federation in {"parameters": large, "parameters_of_one_shard": one}.items()
    }
    reference = bench.distance(bench.draw(one, None, "draw_once", "monolith").x_NCHW)
    return {
        **told,
        "ratio_to_monolith": told["distance"] / reference,
        **numbers,
        "parameters_over_one_shard": numbers["parameters"] / numbers["parameters_of_one_shard"],
        "training_seconds": large.shards[0].seconds,
        "training_steps": large.shards[0].steps,
    }


def drawn(bench: Bench, split: str) -> dict[str, Any]:
    """Measure a split without a router: one shard a sample, drawn by lambda, and naive averaging."""
    federation = bench.federation(split)
    return {
        "prior": told_of(bench, bench.draw(federation, None, "draw_once", "prior")),
        "naive": told_of(bench, bench.draw(federation, None, "uniform", "naive", count=bench.few)),
        "shard_seconds": [shard.seconds for shard in federation.shards],
    }


def routed(bench: Bench, split: str, *, full: bool = True) -> dict[str, Any]:
    """Measure a split with a joint router; `full` for the whole mixture too, which costs as much as all shards."""
    federation = bench.federation(split)
    built = builds.joint(federation)
    found: dict[str, Any] = {"router_seconds": built.seconds, "bank_seconds": built.bank_seconds}
    found["cumulative"] = told_of(bench, bench.draw(federation, built, "cumulative", "joint-cumulative"))
    if full:
        found["full"] = told_of(bench, bench.draw(federation, built, "full", "joint-full"))
    return found


def drawn_late(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the mixture above a noise level and one shard, drawn from its weights there, below: unbiased."""
    federation = bench.federation(split)
    built = builds.joint(federation)
    return {
        f"sigma_{noise:g}": told_of(bench, bench.draw(federation, built, DrawAt(noise=noise), f"joint-late-{noise:g}"))
        for noise in LATE
    }


def larger_router(bench: Bench, split: str) -> dict[str, Any]:
    """Measure what a router of twice the training, all pixels and three times the bank changes: for a weak one."""
    recipe = bench.size.recipe
    larger = replace(
        recipe,
        bank=replace(recipe.bank, images=3 * recipe.bank.images),
        router=replace(recipe.router, steps=2 * recipe.router.steps, patch=1),
    )
    federation = replace(bench.federation(split), recipe=larger)
    built = builds.joint(federation)

    def told(dispatch: str, kind: str, by: builds.Built | None = built) -> dict[str, float]:
        return told_of(bench, bench.draw(federation, by, dispatch, kind, count=2 * bench.few))

    return {
        "router_seconds": built.seconds,
        "bank_seconds": built.bank_seconds,
        "draw_late": told("draw_late", "larger-late"),
        "cumulative": told("cumulative", "larger-cumulative"),
        "prior": told("draw_once", "larger-prior", None),
    }


def cost(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the processor time of a plain image from the composite and from the monolith, in alternating turns."""
    pipelines = {"composite": composites.pipeline_of(bench.federation(split), None)}
    pipelines["monolith"] = composites.pipeline_of(bench.monolith, None)
    turns: dict[str, list[float]] = {name: [] for name in pipelines}
    images = min(COST_IMAGES, bench.size.samples)
    for turn in range(COST_TURNS + 1):
        for name, pipeline in pipelines.items():
            begun = time.process_time()
            pipeline(images, torch.Generator().manual_seed(turn), dispatch="draw_once", output_type="pt")
            turns[name].append(time.process_time() - begun)
    pairs = zip(turns["composite"][1:], turns["monolith"][1:], strict=True)  # the first turn warms up
    ratios = sorted(one / other for one, other in pairs)
    return {
        "ratio": ratios[len(ratios) // 2],
        "ratios": ratios,
        "images": images,
        "shards": len(bench.parts(split)),
    }


def of_heads(bench: Bench, split: str) -> dict[str, Any]:
    """Measure a router of heads against the public reference: the first half of the test images."""
    federation = bench.federation(split)
    built = builds.heads(federation, bench.images.test_NCHW[::2], bench.images.test_label_N[::2])
    mixed = bench.draw(federation, built, "cumulative", "heads-cumulative")
    return {"cumulative": told_of(bench, mixed), "heads_seconds": built.seconds}


def k_sweep(bench: Bench, split: str) -> dict[str, Any]:
    """Measure truncation to the k likeliest shards at every step, and drawing anew at every step."""
    federation = bench.federation(split)
    built = builds.joint(federation)
    found: dict[str, Any] = {}
    for k in (1, 2, 3):
        found[f"top_{k}"] = told_of(bench, bench.draw(federation, built, TopK(k), f"joint-top{k}"))
    found["per_step_draw"] = told_of(bench, bench.draw(federation, built, "per_step_draw", "joint-perstep"))
    steps = MORE_STEPS * federation.recipe.sampler.steps
    many = bench.draw(federation, built, "per_step_draw", "joint-perstep", steps=steps)
    found[f"per_step_draw_{steps}_steps"] = told_of(bench, many)
    once = bench.draw(federation, None, "draw_once", "prior", steps=steps)
    found[f"prior_{steps}_steps"] = told_of(bench, once)
    return found


def by_number(bench: Bench, split: str) -> dict[str, Any]:
    """Measure composites of 1, 2, ... shards against all data: routed by lambda, and naively averaged."""
    federation, each = bench.federation(split), min(LONE_SAMPLES, bench.size.samples)
    lone = {shard.name: _lone(bench, federation, shard.name, each) for shard in federation.shards}
    routed, naive = {}, {}
    for count in range(1, len(federation.names) + 1):
        names = federation.names[:count]
        share = each // count
        routed[str(count)] = bench.distance(torch.cat([lone[name][:share] for name in names]))
        if count in (1, 2, 4, 7, 10):
            fewer = federation
            for name in federation.names[count:]:
                fewer = fewer.without(name)
            averaged = bench.draw(fewer, None, "uniform", f"naive-of-{count}", count=bench.few)
            naive[str(count)] = bench.distance(averaged.x_NCHW)
    alone = {name: bench.distance(x_NCHW) for name, x_NCHW in lone.items()}
    return {"routed": routed, "naive": naive, "one_shard_alone": alone}


def _lone(bench: Bench, federation: Federation, name: str, count: int) -> torch.Tensor:
    alone = federation
    for other in federation.names:
        if other != name:
            alone = alone.without(other)
    return bench.draw(alone, None, "draw_once", f"lone-{name}", count=count).x_NCHW
