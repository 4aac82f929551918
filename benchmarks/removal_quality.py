"""What a removal changes in images, and what it leaves of a party: two parts of benchmarks/removal.py.

Shapes: N samples or images, F features, C, H, W.
"""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

import torch
from coordinator.federation import GROUP, quiet
from quality.removals import Removal, standard_error
from removal_world import SEED, Images, Parties, say

from severable_diffusion.environment import generator
from severable_diffusion.frechet import FD_NAME, FeatureNetwork, train_feature_network
from severable_diffusion.membership_attack import SCORES, losses, told_apart
from severable_diffusion.pipeline import CompositePipeline

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

BATCH = 250


def retained(world: Parties, images: Images, samples: int) -> dict[str, Any]:
    """Draw from the whole composite, and from it without each party; distances to the others' real training images.

    The default dispatch, from one seed: without a party the composite draws what the rebuilt one draws (ADR 10).
    """
    features = train_feature_network(images.train_NCHW, images.train_label_N, seed=SEED)
    pipeline = pipeline_of(world)
    ids = {shard.party: shard.id.hex for shard in world.coordinator.shards.shards()}
    before_NCHW, realised = drawn(pipeline, ids.values(), samples)
    before_NF = features.features(before_NCHW)
    found, removals = {}, []
    for party, own in ids.items():
        rest = [shard for shard in ids.values() if shard != own]
        rows_N = torch.cat([rows_N for other, rows_N in images.rows.items() if other != party])
        after_NCHW, _ = drawn(pipeline, rest, samples)
        one = Removal(
            before_NF=before_NF,
            stays_N=torch.tensor([shard != own for shard in realised]),
            after_NF=features.features(after_NCHW),
            reference_MF=_reference(features, images, rows_N),
        )
        removals.append(one)
        before, after = one.distances()
        found[party] = {"before": before, "after": after, "change": after / before - 1.0}
        say(f"without {party}: {FD_NAME} to the others' images {before:.4g} -> {after:.4g}")
    return {
        "retained_change": mean(one["change"] for one in found.values()),
        "retained_change_standard_error": standard_error(removals),
        "retained": found,
        "retained_measure": f"{FD_NAME}, {samples} samples",
    }


def _reference(features: FeatureNetwork, images: Images, rows_N: torch.Tensor) -> torch.Tensor:
    return features.features(images.train_NCHW[rows_N])


def pipeline_of(world: Parties) -> CompositePipeline:
    """The composite of all parties, loaded as a licensee does."""
    building = world.coordinator.building
    pipeline = CompositePipeline.from_pretrained(building.directory(building.live(GROUP)))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: CompositePipeline, allowed: Collection[str], count: int) -> tuple[torch.Tensor, list[str]]:
    """Draw by the default dispatch with some of the shards; returns images and the shard of each."""
    noise, parts, owners = generator(SEED), [], list[str]()
    for begun in range(0, count, BATCH):
        x_NCHW, told = pipeline(
            min(BATCH, count - begun), noise, allowed=list(allowed), output_type="pt", return_dict=False
        )
        parts.append(x_NCHW)
        owners += [told.shard_ids[place] for place in told.realised_N.tolist()]
    return torch.cat(parts), owners


def membership(world: Parties, images: Images, scratch: Path) -> dict[str, Any]:
    """Attack the first party's privacy with the composite before and after its removal (docs/evaluation.md)."""
    party = next(iter(images.rows))
    building = world.coordinator.building
    after = world.copied(scratch / "membership")
    after.removal.run(after.removals.removal(world.request(after, party)), quiet)
    folders = {
        "before": building.directory(building.live(GROUP)),
        "after": after.building.directory(after.building.live(GROUP)),
    }
    held_in_NCHW, held_out_NCHW = images.train_NCHW[images.rows[party]], images.held_out(party)
    figures: dict[str, Any] = {"membership_party": party, "membership": {}}
    for when, folder in folders.items():
        pipeline = CompositePipeline.from_pretrained(folder)
        held_in, held_out = (losses(pipeline, x_NCHW) for x_NCHW in (held_in_NCHW, held_out_NCHW))
        told = {name: told_apart(held_in.score(name), held_out.score(name), seed=SEED) for name in SCORES}
        figures[f"membership_auc_{when}"] = told[SCORES[0]].area
        figures["membership"][when] = {
            name: {"area": one.area, "low": one.low, "high": one.high, "hit_rate": one.hit_rate}
            for name, one in told.items()
        }
    figures["membership_images"] = {"held_in": len(held_in_NCHW), "held_out": len(held_out_NCHW)}
    return figures
