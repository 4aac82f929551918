"""Composites to measure: routers built as the coordinator builds them, samples drawn as licensees draw them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from quality import work
from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank
from severable_diffusion.composite_directory import load_router, router_bytes, router_config
from severable_diffusion.heads import HeadsRouter, build_head
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.router_training import build_router
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import ShardSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from quality.shards import Shard
    from severable_diffusion.composition import Dispatch
    from severable_diffusion.recipe import Recipe
    from severable_diffusion.router import JointRouter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Federation:
    """Trained shards, and where what is derived from them is kept.

    Attributes:
        folder: of the data set and seed.
        recipe: of all shards.
        shards: sorted by name.
        seed: of the samples.
    """

    folder: Path
    recipe: Recipe
    shards: tuple[Shard, ...]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shards, in the order of K."""
        return tuple(shard.name for shard in self.shards)

    @property
    def label(self) -> str:
        """Names this set of shards by their weights and recipe."""
        parts = [network.dump(shard.weights) for shard in self.shards]
        return work.digest_of(self.recipe.to_bytes(), str(self.seed).encode(), *parts)

    def without(self, name: str) -> Federation:
        """Return the federation that this shard never joined."""
        kept = tuple(shard for shard in self.shards if shard.name != name)
        return Federation(folder=self.folder, recipe=self.recipe, shards=kept, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Built:
    """A router and what it cost.

    Attributes:
        router: ready to use.
        seconds: of processor time for its training and calibration.
        bank_seconds: of processor time for the banks.
    """

    router: JointRouter | HeadsRouter
    seconds: float
    bank_seconds: float


def bank_of(federation: Federation, shard: Shard, purpose: str = "") -> tuple[Bank, float]:
    """Return a shard's bank and the processor seconds that drawing it took; `purpose` names another draw."""
    material = f"{shard.name}{purpose}"
    weights = network.dump(shard.weights)
    plan = federation.recipe.to_bytes()
    key = work.digest_of(weights, plan, material.encode())
    path = federation.folder / "banks" / f"{material}-{federation.seed}-{key}.safetensors"
    if (found := work.kept_tensors(path)) is None:
        begun = time.process_time()
        bank = draw_bank(network.load(federation.recipe, weights), federation.recipe, seed_material=material)
        found = bank.tensors(), {"seconds": time.process_time() - begun}
        work.keep_tensors(path, *found)
    return Bank.from_tensors(found[0]), float(found[1]["seconds"])


def joint(federation: Federation) -> Built:
    """Return the joint router over the shards' banks."""
    banks = {shard.name: bank_of(federation, shard) for shard in federation.shards}
    return _kept(
        federation, "joint", {name: bank for name, (bank, _) in banks.items()}, sum(s for _, s in banks.values())
    )


def from_real_data(federation: Federation, images: dict[str, torch.Tensor]) -> Built:
    """Return a joint router trained on as many of the shards' real images, which no coordinator could have."""
    count = federation.recipe.bank.images
    banks = {name: Bank.from_images(x[:count], federation.recipe, seed_material=name) for name, x in images.items()}
    return _kept(federation, "real", banks, 0.0)


def _kept(federation: Federation, kind: str, banks: dict[str, Bank], bank_seconds: float) -> Built:
    path = federation.folder / "routers" / f"{kind}-{federation.label}.json"
    found = work.kept_facts(path)
    if found is None:
        begun = time.process_time()
        router = build_router(banks, federation.recipe)
        found = {"seconds": time.process_time() - begun, "config": router_config(router).decode()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".weights").write_bytes(router_bytes(router))
        work.keep_facts(path, found)
    router = load_router(found["config"].encode(), path.with_suffix(".weights").read_bytes())
    return Built(router=router, seconds=found["seconds"], bank_seconds=bank_seconds)


def heads(federation: Federation, reference_NCHW: torch.Tensor) -> Built:
    """Return the router of heads against a public reference."""
    recipe = federation.recipe
    reference = Bank.from_images(reference_NCHW[: recipe.bank.images], recipe, seed_material="public")
    made, seconds, bank_seconds = {}, 0.0, 0.0
    for shard in federation.shards:
        alone = Federation(folder=federation.folder, recipe=recipe, shards=(shard,), seed=federation.seed)
        path = federation.folder / "routers" / f"head-{shard.name}-{alone.label}.json"
        bank, spent = bank_of(federation, shard)
        if (found := work.kept_facts(path)) is None:
            begun = time.process_time()
            head = build_head(shard.name, bank, reference, recipe)
            found = {"seconds": time.process_time() - begun, "config": router_config(head).decode()}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".weights").write_bytes(router_bytes(head))
            work.keep_facts(path, found)
        made[shard.name] = load_router(found["config"].encode(), path.with_suffix(".weights").read_bytes())
        seconds, bank_seconds = seconds + found["seconds"], bank_seconds + spent
    return Built(router=HeadsRouter.of(made), seconds=seconds, bank_seconds=bank_seconds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What a composite drew.

    Attributes:
        x_NCHW: float32 in [-1, 1].
        trajectory_SNK: weights at every step.
        realised_N: the shard a sample was bound to, or -1.
        log_snr: of the steps.
        evaluations: mean number of shards run per sample and step.
        seconds: processor time per image.
    """

    x_NCHW: torch.Tensor
    trajectory_SNK: torch.Tensor
    realised_N: torch.Tensor
    log_snr: tuple[float, ...]
    evaluations: float
    seconds: float


def pipeline_of(federation: Federation, router: JointRouter | HeadsRouter | None) -> CompositePipeline:
    """Return the pipeline of a federation, every lambda the shard's share of the images."""
    networks = {shard.name: network.load(federation.recipe, network.dump(shard.weights)) for shard in federation.shards}
    lambdas = {shard.name: float(shard.images) for shard in federation.shards}
    shards = ShardSet(federation.recipe, networks, lambdas).eval()
    pipeline = CompositePipeline(shards, scheduler_for(federation.recipe), router)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def samples(
    federation: Federation,
    built: Built | None,
    dispatch: str | Dispatch,
    *,
    kind: str,
    count: int,
    batch: int,
    steps: int | None = None,
) -> Samples:
    """Return `count` samples: kept, or drawn now.

    Args:
        federation: whose.
        built: the router; None draws by lambda.
        dispatch: its name or itself.
        kind: names the router and the dispatch among kept samples, for example joint-full.
        count: how many images.
        batch: how many at a time.
        steps: sampler steps; the recipe's by default.
    """
    router = None if built is None else built.router
    rules = b"" if router is None else router_bytes(router)
    key = work.digest_of(rules, federation.label.encode(), str((count, batch, steps)).encode())
    path = federation.folder / "samples" / f"{kind}-{key}.safetensors"
    if (found := work.kept_tensors(path)) is None:
        pipeline = pipeline_of(federation, router)
        found = _drawn(pipeline, dispatch, federation.seed, count=count, batch=batch, steps=steps)
        work.keep_tensors(path, *found)
    tensors, facts = found
    return Samples(
        x_NCHW=tensors["x"],
        trajectory_SNK=tensors["trajectory"].float(),
        realised_N=tensors["realised"],
        log_snr=tuple(facts["log_snr"]),
        evaluations=facts["evaluations"],
        seconds=facts["seconds"],
    )


def _drawn(
    pipeline: CompositePipeline, dispatch: str | Dispatch, seed: int, *, count: int, batch: int, steps: int | None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    noise = torch.Generator().manual_seed(1000 + seed)
    begun, parts = time.process_time(), []
    for start in range(0, count, batch):
        size = min(batch, count - start)
        parts.append(
            pipeline(
                batch_size=size,
                generator=noise,
                num_inference_steps=steps,
                dispatch=dispatch,
                output_type="pt",
                return_dict=False,
            )
        )
    seconds = (time.process_time() - begun) / count
    undecided = [torch.full((len(x),), -1) for x, _ in parts]
    realised = [one if a.realised_N is None else a.realised_N for one, (_, a) in zip(undecided, parts, strict=True)]
    tensors = {
        "x": torch.cat([x for x, _ in parts]),
        "trajectory": torch.cat([a.trajectory_SNK for _, a in parts], dim=1).half(),
        "realised": torch.cat(realised),
    }
    evaluations = _mean([a.evaluations_per_step for _, a in parts])
    return tensors, {"seconds": seconds, "evaluations": evaluations, "log_snr": list(parts[0][1].log_snr)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
