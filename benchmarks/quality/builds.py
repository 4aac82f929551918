"""Banks and routers to measure, built as the coordinator builds them, each kept with what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quality import work
from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank
from severable_diffusion.composite_directory import load_router, router_bytes, router_config
from severable_diffusion.heads import HeadsRouter, build_head
from severable_diffusion.router_training import build_router

if TYPE_CHECKING:
    import torch

    from quality.composites import Federation
    from quality.shards import Shard
    from severable_diffusion.router import JointRouter


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
        federation.run.check()
        begun = federation.run.seconds()
        bank = draw_bank(
            federation.denoiser(shard), federation.recipe, seed_material=material, label_counts=shard.label_counts
        )
        found = bank.tensors(), {"seconds": federation.run.seconds() - begun} | federation.ran
        work.keep_tensors(path, *found)
    return Bank.from_tensors(found[0]), float(found[1]["seconds"])


def joint(federation: Federation) -> Built:
    """Return the joint router over the shards' banks."""
    banks = {shard.name: bank_of(federation, shard) for shard in federation.shards}
    return _kept(
        federation, "joint", {name: bank for name, (bank, _) in banks.items()}, sum(s for _, s in banks.values())
    )


def from_real_data(
    federation: Federation, images: dict[str, torch.Tensor], labels: dict[str, torch.Tensor] | None = None
) -> Built:
    """Return a joint router trained on as many of the shards' real images, which no coordinator could have.

    Args:
        federation: whose.
        images: of every shard.
        labels: of these images; used only where the recipe has conditions.
    """
    recipe, count = federation.recipe, federation.recipe.bank.images
    told = (labels or {}) if recipe.conditions is not None else {}
    banks = {
        name: Bank.from_images(
            x[:count], recipe, seed_material=name, label_N=told[name][:count] if name in told else None
        )
        for name, x in images.items()
    }
    return _kept(federation, "real", banks, 0.0)


def _kept(federation: Federation, kind: str, banks: dict[str, Bank], bank_seconds: float) -> Built:
    path = federation.folder / "routers" / f"{kind}-{federation.label}.json"
    found = work.kept_facts(path)
    if found is None:
        federation.run.make_room()
        begun = time.process_time()
        router = build_router(banks, federation.recipe)
        found = {"seconds": time.process_time() - begun, "config": router_config(router).decode()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".weights").write_bytes(router_bytes(router))
        work.keep_facts(path, found)
    router = load_router(found["config"].encode(), path.with_suffix(".weights").read_bytes())
    return Built(router=router, seconds=found["seconds"], bank_seconds=bank_seconds)


def heads(federation: Federation, reference_NCHW: torch.Tensor, label_N: torch.Tensor | None = None) -> Built:
    """Return the router of heads against a public reference; its labels are used where the recipe has conditions."""
    recipe, count = federation.recipe, federation.recipe.bank.images
    told_N = None if label_N is None or recipe.conditions is None else label_N[:count]
    reference = Bank.from_images(reference_NCHW[:count], recipe, seed_material="public", label_N=told_N)
    made, seconds, bank_seconds = {}, 0.0, 0.0
    for shard in federation.shards:
        alone = replace(federation, shards=(shard,))
        path = federation.folder / "routers" / f"head-{shard.name}-{alone.label}.json"
        bank, spent = bank_of(federation, shard)
        if (found := work.kept_facts(path)) is None:
            federation.run.make_room()
            begun = time.process_time()
            head = build_head(shard.name, bank, reference, recipe)
            found = {"seconds": time.process_time() - begun, "config": router_config(head).decode()}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".weights").write_bytes(router_bytes(head))
            work.keep_facts(path, found)
        made[shard.name] = load_router(found["config"].encode(), path.with_suffix(".weights").read_bytes())
        seconds, bank_seconds = seconds + found["seconds"], bank_seconds + spent
    return Built(router=HeadsRouter.of(made), seconds=seconds, bank_seconds=bank_seconds)
