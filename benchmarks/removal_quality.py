"""What a removal changes in images, and what it leaves of a party: two parts of benchmarks/removal.py.

Shapes: N samples or images, F features, C, H, W.
"""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

import torch
from coordinator.federation import GROUP, quiet
from diffusers.utils.logging import disable_progress_bar
from quality.removals import Removal, standard_error
from removal_world import SEED, Images, Parties, say

from severable_diffusion.environment import generator
from severable_diffusion.frechet import FD_NAME, train_feature_network
from severable_diffusion.membership_attack import SCORES, losses, told_apart
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.retained import lots_alone

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

BATCH = 250
ATTACKED = 1000  # images of the party, and as many that nobody trained on


def retained(world: Parties, images: Images, samples: int) -> dict[str, Any]:
    """Draw from the whole composite, and from it without each party; distances to the others' real training images.

    The default dispatch, from one noise and one seed of lots. Without a party only the samples that its shard had made
    are others' now (ADR 10): each position has a first shard, and a second one for when the first has left. So two
    images of each position are all that all removals together need.
    """
    pipeline, features = pipeline_of(world), train_feature_network(images.train_NCHW, images.train_label_N, seed=SEED)
    ids = {shard.party: shard.id.hex for shard in world.coordinator.shards.shards()}
    image = pipeline.shards.recipe.image
    noise_NCHW = torch.randn((samples, image.channels, image.size, image.size), generator=generator(SEED))
    first_N = winners(pipeline, noise_NCHW, ids.values())
    second_N = torch.empty_like(first_N)
    for own in ids.values():
        place = pipeline.shards.shard_ids.index(own)
        without_N = winners(pipeline, noise_NCHW, [shard for shard in ids.values() if shard != own])
        second_N = torch.where(first_N == place, without_N, second_N)
    first_NF, second_NF = (features.features(drawn(pipeline, noise_NCHW, one_N)) for one_N in (first_N, second_N))
    found, removals = {}, []
    for party, own in ids.items():
        stays_N = first_N != pipeline.shards.shard_ids.index(own)
        rows_N = torch.cat([rows_N for other, rows_N in images.rows.items() if other != party])
        one = Removal(
            before_NF=first_NF,
            stays_N=stays_N,
            after_NF=torch.where(stays_N[:, None], first_NF, second_NF),
            reference_MF=features.features(images.train_NCHW[rows_N]),
            as_many=False,
        )
        removals.append(one)
        before, after = one.distances()
        found[party] = {"before": before, "after": after, "change": after / before - 1.0, "stays": int(stays_N.sum())}
        say(f"without {party}: {FD_NAME} to the others' images {before:.4g} -> {after:.4g}")
    return {
        "retained_change": abs(mean(one["change"] for one in found.values())),
        "retained_change_signed": mean(one["change"] for one in found.values()),
        "retained_change_standard_error": standard_error(removals),
        "retained": found,
        "retained_measure": f"{FD_NAME}, {samples} samples",
    }


def pipeline_of(world: Parties) -> CompositePipeline:
    """The composite of all parties, loaded as a licensee does."""
    disable_progress_bar()
    building = world.coordinator.building
    pipeline = CompositePipeline.from_pretrained(building.directory(building.live(GROUP)))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def winners(pipeline: CompositePipeline, noise_NCHW: torch.Tensor, allowed: Collection[str]) -> torch.Tensor:
    """Return the place of the shard that makes each sample, where some shards may be used; no network is run."""
    shares = {shard: one.share for shard, one in pipeline.shards.members.items()}
    lots, source, found = lots_alone(pipeline.shards.recipe, shares), generator(SEED), list[torch.Tensor]()
    for part_NCHW in torch.split(noise_NCHW, BATCH):
        _, told = lots(
            len(part_NCHW), source, latents=part_NCHW, allowed=list(allowed), output_type="pt", return_dict=False
        )
        if told.realised_N is None:
            raise ValueError("the default dispatch binds every sample to a shard, and did not")
        found.append(told.realised_N)
    return torch.cat(found)


def drawn(pipeline: CompositePipeline, noise_NCHW: torch.Tensor, shard_N: torch.Tensor) -> torch.Tensor:
    """Return each sample as its shard makes it."""
    x_NCHW = torch.empty_like(noise_NCHW)
    for place, shard in enumerate(pipeline.shards.shard_ids):
        for rows_N in torch.split((shard_N == place).nonzero()[:, 0], BATCH):
            if len(rows_N):
                x_NCHW[rows_N], _ = pipeline(
                    len(rows_N), latents=noise_NCHW[rows_N], allowed=[shard], output_type="pt", return_dict=False
                )
    return x_NCHW


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
    held_in_NCHW, held_out_NCHW = some(images.train_NCHW[images.rows[party]]), some(images.held_out(party))
    figures: dict[str, Any] = {"membership_party": party, "membership": {}}
    for when, folder in folders.items():
        pipeline = CompositePipeline.from_pretrained(folder)
        held_in, held_out = (losses(pipeline, x_NCHW) for x_NCHW in (held_in_NCHW, held_out_NCHW))
        told = {name: told_apart(held_in.score(name), held_out.score(name), seed=SEED) for name in SCORES}
        figures[f"membership_auc_{when}"] = told[SCORES[0]].area
        say(f"membership of {party} {when}: AUC {told[SCORES[0]].area:.3f}")
        figures["membership"][when] = {
            name: {"area": one.area, "low": one.low, "high": one.high, "hit_rate": one.hit_rate}
            for name, one in told.items()
        }
    figures["membership_images"] = {"held_in": len(held_in_NCHW), "held_out": len(held_out_NCHW)}
    return figures


def some(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Return at most so many of the images as are attacked, evenly taken: they may lie class by class."""
    return x_NCHW[torch.linspace(0, len(x_NCHW) - 1, min(ATTACKED, len(x_NCHW))).long()]
