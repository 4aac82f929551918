"""What a composite costs beside a monolith: plain, from partly noised images, and with a condition.

Processor time, one thread, composite and monolith in alternating turns of one process; a ratio is taken within a turn.
Beside it, for partly noised images, the distance with the default dispatch and with the full mixture.
Shapes: N images, C, H, W.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

import torch

from quality import builds, composites, work
from severable_diffusion import network
from severable_diffusion.environment import seed_from
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recipe import Conditions
from severable_diffusion.router import JointRouter
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import Member, ShardSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from quality.bench import Bench
    from severable_diffusion.recipe import Recipe

TURNS = 5
STRENGTH = 0.5
GUIDANCE = 3.0
BLOCKS = 4
BARS = {"plain": 1.05, "partial_noise": 1.15, "condition": 1.15, "condition_partial_noise": 1.15}
Options = dict[str, Any]


def measure(bench: Bench, split: str) -> dict[str, Any]:
    """Measure cost ratios at every batch size, with the split's shards, and with labelled networks of random weights.

    The recipe has no labels, and what is measured there is time alone; a router of random weights costs what a trained
    one costs. Guidance has no bar: it runs a second branch, whose mixture has no drawn shard.
    """
    federation = bench.federation(split)
    own = composites.pipeline_of(federation, builds.joint(federation).router)
    mono = composites.pipeline_of(bench.monolith, None)
    random_ones = labelled_pipelines(bench, split)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in BARS}
    for batch in bench.size.cost_batches:
        image = {"image": _repeated(bench.images.test_NCHW, batch), "strength": STRENGTH}
        asked = {"condition": _repeated(bench.images.test_label_N, batch)}
        found["plain"][str(batch)] = alternating(own, mono, batch, {})
        found["partial_noise"][str(batch)] = alternating(own, mono, batch, image)
        found["condition"][str(batch)] = alternating(*random_ones, batch, asked)
        found["condition_partial_noise"][str(batch)] = alternating(*random_ones, batch, asked | image)
    few = bench.size.cost_batches[0]
    guided = {"condition": _repeated(bench.images.test_label_N, few), "guidance_scale": GUIDANCE}
    return {
        **found,
        "guided": {str(few): alternating(*random_ones, few, guided, turns=3)},
        "bars": BARS,
        "strength": STRENGTH,
        "guidance": GUIDANCE,
        "shards": len(federation.names),
        "condition_networks": "random weights, as many as shards; only time is measured",
    }


def _repeated(rows: torch.Tensor, count: int) -> torch.Tensor:
    return rows[torch.arange(count) % len(rows)]


def alternating(
    composite: CompositePipeline, mono: CompositePipeline, batch: int, options: Options, turns: int = TURNS
) -> dict[str, Any]:
    """Return the median ratio of processor times, the ratios, and the milliseconds of an image in the median turn."""
    spent: dict[str, list[float]] = {"composite": [], "monolith": []}
    for turn in range(turns + 1):
        pair = [("composite", composite), ("monolith", mono)]
        for name, pipeline in pair if turn % 2 else pair[::-1]:
            begun = time.process_time()
            pipeline(batch, torch.Generator().manual_seed(turn), output_type="pt", **options)
            spent[name].append(time.process_time() - begun)
    pairs = zip(spent["composite"][1:], spent["monolith"][1:], strict=True)  # the first turn warms up
    ratios = sorted(one / other for one, other in pairs)
    milliseconds = {f"{name}_ms": 1000.0 * median(values[1:]) / batch for name, values in spent.items()}
    return {"ratio": median(ratios), "ratios": ratios, **milliseconds}


def labelled_pipelines(bench: Bench, split: str) -> tuple[CompositePipeline, CompositePipeline]:
    """Return composite and monolith of labelled networks of random weights, with the split's label counts."""
    recipe = labelled(bench.size.recipe)
    counts = {
        part.name: tuple(torch.bincount(bench.images.train_label_N[part.rows_N], minlength=10).tolist())
        for part in bench.parts(split)
    }
    router = JointRouter(
        shard_ids=sorted(counts),
        in_channels=recipe.image.channels,
        sample_size=recipe.image.size,
        channels=recipe.router.channels,
        bins=recipe.router.bins,
        patch=recipe.router.patch,
        labels=recipe.labels,
    ).eval()
    whole = {"all": tuple(map(sum, zip(*counts.values(), strict=True)))}
    return _of_random_weights(recipe, counts, router), _of_random_weights(recipe, whole, None)


def labelled(recipe: Recipe) -> Recipe:
    """Return the recipe with ten labels, if it has none."""
    if recipe.conditions is not None:
        return recipe
    labels = tuple(str(label) for label in range(10))
    return replace(recipe, name=f"{recipe.name}-labelled", conditions=Conditions(labels=labels))


def _of_random_weights(
    recipe: Recipe, counts: dict[str, tuple[int, ...]], router: JointRouter | None
) -> CompositePipeline:
    networks = {
        name: network.build_seeded(recipe, seed_from(name.encode())).requires_grad_(requires_grad=False)
        for name in counts
    }
    members = {name: Member(share=float(sum(own)), label_counts=own) for name, own in counts.items()}
    pipeline = CompositePipeline(ShardSet(recipe, networks, members).eval(), scheduler_for(recipe), router)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def partial_noise(bench: Bench, split: str) -> dict[str, Any]:
    """Compare the default dispatch with the full mixture from partly noised test images: same images, same noise.

    Distances to all training images, over all samples and in disjoint blocks; the blocks' spread is the noise of the
    ratio. `again` draws the shards of the default dispatch, and the noise, anew: what two equal runs differ by.
    """
    federation = bench.federation(split)
    pipeline = composites.pipeline_of(federation, builds.joint(federation).router)
    each = min(bench.size.samples, len(bench.images.test_NCHW) // BLOCKS)
    image_NCHW = bench.images.test_NCHW[: BLOCKS * each]
    runs: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
        "default": lambda: _from(pipeline, image_NCHW, bench, {}),
        "full": lambda: _from(pipeline, image_NCHW, bench, {"dispatch": "full"}),
        "again": lambda: _from(pipeline, image_NCHW, bench, {}, salt=1),
    }
    x_NCHW = {name: _kept(bench, federation.label, name, len(image_NCHW), run) for name, run in runs.items()}
    whole = {name: bench.distance(one) for name, one in x_NCHW.items()}
    blocks = {name: [bench.distance(part) for part in one.chunk(BLOCKS)] for name, one in x_NCHW.items()}
    changes = [one / other - 1.0 for one, other in zip(blocks["default"], blocks["full"], strict=True)]
    return {
        "distances": whole,
        "change": whole["default"] / whole["full"] - 1.0,
        "change_of_blocks": changes,
        "change_mean_of_blocks": mean(changes),
        "change_standard_error": stdev(changes) / BLOCKS**0.5,
        "change_of_another_draw": whole["again"] / whole["default"] - 1.0,
        "samples": len(image_NCHW),
        "strength": STRENGTH,
        "bar": 0.01,
    }


def _from(
    pipeline: CompositePipeline, image_NCHW: torch.Tensor, bench: Bench, options: Options, salt: int = 0
) -> dict[str, torch.Tensor]:
    """Return one image drawn from every given one, partly noised."""
    noise = torch.Generator().manual_seed(2000 + 1000 * salt + bench.seed)
    parts: list[torch.Tensor] = []
    for own_NCHW in torch.split(image_NCHW, bench.size.batch):
        latents_NCHW = torch.randn(own_NCHW.shape, generator=noise)
        drawing = torch.Generator().manual_seed(3000 + 1000 * salt + bench.seed + len(parts))
        start: Options = {"image": own_NCHW, "strength": STRENGTH, "latents": latents_NCHW}
        x_NCHW, _ = pipeline(len(own_NCHW), drawing, output_type="pt", return_dict=False, **start, **options)
        parts.append(x_NCHW)
    return {"x": torch.cat(parts)}


def _kept(bench: Bench, label: str, name: str, count: int, run: Callable[[], dict[str, torch.Tensor]]) -> torch.Tensor:
    path = bench.folder / "samples" / f"partial-{name}-{count}-{label}.safetensors"
    if (found := work.kept_tensors(path)) is None:
        found = run(), {"strength": STRENGTH, "count": count}
        work.keep_tensors(path, *found)
    return found[0]["x"]
