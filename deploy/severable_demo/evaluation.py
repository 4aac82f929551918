"""A licensee's view: load the composite through diffusers and measure it against held-out real digits.

    python deploy/severable_demo/evaluation.py --composite DIR --images DIR --names JSON --out FILE

Frechet distance in the features of a small classifier that is trained on the spot on half of the real images held out
from every owner; the other half is the reference. It is `FD-<net>`, not FID, and only ratios mean something.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.utils.logging import disable_progress_bar

from severable_diffusion.evaluation import CUMULATIVE, NAIVE, alone, measure
from severable_diffusion.images import read_image_folder
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.yardstick import Yardstick, trained_yardstick

SEED = 20260


def distances(
    pipeline: CompositePipeline, yardstick: Yardstick, count: int, names: Mapping[str, str]
) -> dict[str, object]:
    """Frechet distances of the routed composite, of naive averaging and of each lone shard."""
    lone = alone({shard: names[shard] for shard in pipeline.shards.shard_ids})
    found = {}
    for measured in measure(pipeline, yardstick, (*lone, CUMULATIVE, NAIVE), count=count, seed=SEED):
        found[measured.drawn.way] = measured.distance
        print(f"{measured.drawn.way.name}: {measured.distance:.1f}", flush=True)
    by_party = {names[way.shard]: found[way] for way in lone if way.shard is not None}
    return {"routed": found[CUMULATIVE], "naive": found[NAIVE], "lone": by_party}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write JSON."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("composite", "images", "names", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--count", type=int, default=160)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks this small are slower on two
    disable_progress_bar()
    pipeline = CompositePipeline.from_pretrained(args.composite)
    pipeline.set_progress_bar_config(disable=True)
    real = read_image_folder(args.images, pipeline.shards.recipe.image)
    yardstick = trained_yardstick(args.images, real, SEED)
    figures = distances(pipeline, yardstick, args.count, json.loads(args.names.read_text()))
    figures |= {
        "feature_net": yardstick.name, "feature_net_accuracy": yardstick.accuracy,
        "real_against_real": yardstick.floor, "samples": args.count,
        "reference_images": len(yardstick.reference_ND), "seed": SEED, "threads": 1,
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    args.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
