"""Sampling a composite for people to look at: a grid labelled with attribution, and the router's weights as a plot."""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from diffusers.utils.logging import disable_progress_bar

from severable_coordinator.building import Progress
from severable_coordinator.new_directory import new_directory
from severable_diffusion.attribution import Attribution
from severable_diffusion.evaluation import CUMULATIVE, draw
from severable_diffusion.pictures import grid, plot_weights
from severable_diffusion.pipeline import CompositePipeline

FILES = ("grid.png", "weights.png", "attribution.json")
HandingOut = Callable[[], AbstractContextManager[None]]  # the moment in which files get their names
Counted = Callable[[Attribution, Collection[str]], None]  # a draw, and the shards that could be used in it


def sample_composite(
    directory: Path,
    names: Mapping[str, str],
    out: Path,
    *,
    everyone: Collection[str],
    images: int,
    seed: int,
    progress: Progress,
    counted: Counted,
    handing_out: HandingOut = nullcontext,
) -> list[Path]:
    """Sample `images` images from a composite directory and write grid.png, weights.png and attribution.json.

    Args:
        directory: an assembled composite.
        names: what to call each shard (hex of its id) in pictures.
        out: where to write; made if missing.
        everyone: names that may stand in other pictures; the same ones give the same colours in all of them.
        images: how many.
        seed: of the noise and of draws.
        progress: told after every denoising step.
        counted: told whose the images are, before any is written.
        handing_out: the moment in which the files get their names; raises where they must not.
    """
    disable_progress_bar()  # ours says how far sampling is
    pipeline = CompositePipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    # Not by the default dispatch: the picture of the router's weights needs a router's weights.
    drawn = draw(pipeline, CUMULATIVE, count=images, seed=seed, told=progress)
    images_NCHW, attribution = drawn.images_NCHW, drawn.attribution
    counted(attribution, attribution.shard_ids)
    leaders = [attribution.leader(image, final=False) for image in range(images)]
    labels = [f"{names[shard]} {weight:.0%}" for shard, weight in leaders]
    shards = [names[shard] for shard in attribution.shard_ids]
    told_of = {"parties": dict(names), **attribution.to_dict()}
    with new_directory(out) as part:
        grid(images_NCHW, labels, everyone=everyone).save(part / FILES[0])
        plot_weights(part / FILES[1], attribution.trajectory_SNK, attribution.log_snr, shards, everyone=everyone)
        (part / FILES[2]).write_text(json.dumps(told_of, indent=2), encoding="utf-8")
        with handing_out():
            out.mkdir(exist_ok=True)
            for name in FILES:
                (part / name).replace(out / name)
    return [out / name for name in FILES]
