"""Composites to measure: trained shards together, and samples drawn from them as licensees draw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quality import draws, work
from quality.draws import LABELLED, Asked
from quality.run import ALONE, Run
from severable_diffusion import network
from severable_diffusion.composite_directory import router_bytes
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import Member, ShardSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from quality.builds import Built
    from quality.shards import Shard
    from severable_diffusion.composition import Dispatch
    from severable_diffusion.heads import HeadsRouter
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
        run: where banks, samples and features are computed, and until when. Routers are trained on the CPU.
    """

    folder: Path
    recipe: Recipe
    shards: tuple[Shard, ...]
    seed: int
    run: Run = ALONE

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shards, in the order of K."""
        return tuple(shard.name for shard in self.shards)

    @property
    def label(self) -> str:
        """Names this set of shards by their weights and recipe."""
        parts = [network.dump(shard.weights) for shard in self.shards]
        return work.digest_of(self.recipe.to_bytes(), str(self.seed).encode(), *parts)

    @property
    def ran(self) -> dict[str, Any]:
        """What is kept beside results of another plan than the default one: where they were computed."""
        facts = self.run.describe()
        return {} if facts is None else {"ran": facts}

    def without(self, name: str) -> Federation:
        """Return the federation that this shard never joined."""
        kept = tuple(shard for shard in self.shards if shard.name != name)
        return replace(self, shards=kept)

    @property
    def members(self) -> dict[str, float | Member]:
        """What the composite knows of every shard: lambda is its share of the images."""
        return {
            shard.name: float(shard.images)
            if shard.label_counts is None
            else Member(share=float(shard.images), label_counts=shard.label_counts)
            for shard in self.shards
        }

    def labels(self, count: int) -> torch.Tensor | None:
        """Return what `count` samples are asked for by, drawn evenly; None where the recipe has no conditions."""
        if self.recipe.conditions is None:
            return None
        return draws.evenly([shard.label_counts or (1,) * self.recipe.labels for shard in self.shards], count)

    def denoiser(self, shard: Shard) -> Callable[..., Any]:
        """Return a shard's network where the run computes; it takes and gives tensors on the CPU."""
        return draws.placed(network.load(self.recipe, network.dump(shard.weights)), self.run.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What a composite drew.

    Attributes:
        x_NCHW: float32 in [-1, 1].
        trajectory_SNK: weights at every step.
        realised_N: the shard a sample was bound to, or -1.
        log_snr: of the steps.
        evaluations: mean number of shards run per sample and step.
        seconds: per image, of processor time; of real time on a GPU.
    """

    x_NCHW: torch.Tensor
    trajectory_SNK: torch.Tensor
    realised_N: torch.Tensor
    log_snr: tuple[float, ...]
    evaluations: float
    seconds: float

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> Samples:
        """Return samples as they are kept."""
        return cls(
            x_NCHW=tensors["x"],
            trajectory_SNK=tensors["trajectory"].float(),
            realised_N=tensors["realised"],
            log_snr=tuple(facts["log_snr"]),
            evaluations=facts["evaluations"],
            seconds=facts["seconds"],
        )


def pipeline_of(
    federation: Federation, router: JointRouter | HeadsRouter | None, *, naive: bool = False
) -> CompositePipeline:
    """Return the pipeline of a federation where the run computes, every lambda the shard's share of the images.

    Args:
        federation: whose.
        router: over its shards; None to draw by lambda. It is moved, too.
        naive: hide from the composite which labels its shards have seen, as naive averaging knows nothing of them:
            otherwise a label that one shard alone has seen would be routed to it.
    """
    networks = {shard.name: network.load(federation.recipe, network.dump(shard.weights)) for shard in federation.shards}
    members = federation.members
    if naive:
        members = {name: Member.of(member).share for name, member in members.items()}
    shards = ShardSet(federation.recipe, networks, members).eval()
    pipeline = CompositePipeline(shards, scheduler_for(federation.recipe), router)
    pipeline.set_progress_bar_config(disable=True)
    if federation.run.device != "cpu":
        pipeline.to(federation.run.device)
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
    asked: Asked = LABELLED,
    allowed: tuple[str, ...] | None = None,
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
        asked: by what, where the recipe has conditions.
        allowed: names of the shards that may be used; all by default.
    """
    router = None if built is None else built.router
    order = draws.Order(
        dispatch=dispatch, count=count, batch=batch, steps=steps, seed=federation.seed,
        label_N=federation.labels(count) if asked.labelled else None, guidance=asked.guidance, allowed=allowed,
    )  # fmt: skip
    path = federation.folder / "samples" / f"{kind}-{_key(federation, router, order, asked)}.safetensors"
    if (found := work.kept_tensors(path)) is None:
        pipeline = pipeline_of(federation, router, naive=dispatch == "uniform")
        tensors, facts = draws.drawn(pipeline, order, federation.run, path.with_suffix(".unfinished"))
        pipeline.to("cpu")  # with the router, which may be asked again
        found = tensors, facts | federation.ran
        work.keep_tensors(path, *found)
    return Samples.of(*found)


def _key(federation: Federation, router: JointRouter | HeadsRouter | None, order: draws.Order, asked: Asked) -> str:
    """Return what samples are kept by, beside their kind: router, weights, recipe and what was asked for."""
    rules = b"" if router is None else router_bytes(router)
    told = [] if federation.recipe.conditions is None else [str((asked.labelled, asked.guidance)).encode()]
    told += [] if order.allowed is None else [str(order.allowed).encode()]
    plan = str((order.count, order.batch, order.steps)).encode()
    return work.digest_of(rules, federation.label.encode(), plan, *told)
