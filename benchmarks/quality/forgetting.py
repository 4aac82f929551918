"""Figures 8 and 14: that a removal is exact, and how much is memorized."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quality import builds, composites
from severable_diffusion import network
from severable_diffusion.composite_directory import write_composite
from severable_diffusion.memorization import memorized_share

if TYPE_CHECKING:
    import torch

    from quality.bench import Bench
    from quality.composites import Federation

SAMPLES = 500


def exactness(bench: Bench, split: str) -> dict[str, Any]:
    """Compare, file by file, a composite after a removal with that of a federation the party never joined.

    The first is built from what stands in the work folder after the whole set was built; the second from the shards'
    weights alone, in an empty folder.
    """
    federation = bench.federation(split)
    builds.joint(federation)
    dropped = federation.names[0]
    after = _digest(federation.without(dropped))
    with tempfile.TemporaryDirectory() as empty:
        never = composites.Federation(
            folder=Path(empty),
            recipe=federation.recipe,
            shards=tuple(shard for shard in federation.shards if shard.name != dropped),
            seed=federation.seed,
        )
        apart = _digest(never)
    return {"dropped": dropped, "after_removal": after, "never_joined": apart, "equal": after == apart}


def _digest(federation: Federation) -> str:
    router = builds.joint(federation).router
    weights = {shard.name: network.dump(shard.weights) for shard in federation.shards}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "composite"
        write_composite(directory, federation.recipe, weights, federation.members, router)
        whole = hashlib.sha256()
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            whole.update(path.relative_to(directory).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()


def memorization(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the share of samples that copy a training image: each shard, the composite, the monolith."""
    federation, mono = bench.federation(split), bench.monolith
    whole_NCHW = bench.images.train_NCHW
    drawn = bench.draw(federation, None, "draw_once", "prior")
    own = {
        name: _share(drawn.x_NCHW[drawn.realised_N == place][:200], x_NCHW)
        for place, (name, x_NCHW) in enumerate(sorted(bench.images_of(split).items()))
    }
    return {
        "shards": own,
        "composite": _share(drawn.x_NCHW[:SAMPLES], whole_NCHW),
        "monolith": _share(bench.draw(mono, None, "draw_once", "monolith").x_NCHW[:SAMPLES], whole_NCHW),
        "held_out_images": _share(bench.images.test_NCHW[:SAMPLES], whole_NCHW),
    }


def _share(samples_NCHW: torch.Tensor, train_MCHW: torch.Tensor) -> float:
    return memorized_share(samples_NCHW, train_MCHW)
