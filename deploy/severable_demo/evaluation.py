"""A licensee's view: load the composite through diffusers and measure it against held-out real digits.

    python deploy/severable_demo/evaluation.py --composite DIR --images DIR --names JSON --out FILE

Frechet distance in the features of a small classifier that is trained on the spot on half of the real images held out
from every owner; the other half is the reference. It is `FD-<net>`, not FID, and only ratios mean something.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from diffusers.utils.logging import disable_progress_bar

from severable_diffusion.frechet import FD_NAME, FeatureNetwork, frechet_distance, train_feature_network
from severable_diffusion.images import read_image_folder
from severable_diffusion.pipeline import CompositePipeline

SEED = 20260


def sample(
    pipeline: CompositePipeline,
    count: int,
    *,
    allowed: Sequence[str] | None = None,
    override: Literal["uniform"] | None = None,
) -> torch.Tensor:
    """`count` images x_NCHW in [-1, 1], always from the same noise."""
    images_NCHW, _ = pipeline(
        batch_size=count,
        generator=torch.Generator().manual_seed(SEED),
        allowed=allowed,
        router_override=override,
        dispatch="cumulative",
        output_type="pt",
        return_dict=False,
    )
    return torch.as_tensor(images_NCHW)


def measure(pipeline: CompositePipeline, network: FeatureNetwork, reference_NCHW: torch.Tensor, count: int,
            names: dict[str, str]) -> dict[str, object]:  # fmt: skip
    """Frechet distances of the routed composite, of naive averaging and of each lone shard."""
    reference_ND = network.features(reference_NCHW)

    def distance(*, allowed: Sequence[str] | None = None, override: Literal["uniform"] | None = None) -> float:
        images_NCHW = sample(pipeline, count, allowed=allowed, override=override)
        return frechet_distance(network.features(images_NCHW), reference_ND)

    lone = {}
    for shard in pipeline.shards.shard_ids:
        lone[names[shard]] = distance(allowed=[shard])
        print(f"lone shard of {names[shard]}: {lone[names[shard]]:.1f}", flush=True)
    routed, naive = distance(), distance(override="uniform")
    print(f"routed composite: {routed:.1f}; naive averaging: {naive:.1f}", flush=True)
    return {"routed": routed, "naive": naive, "lone": lone}


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
    half = torch.arange(len(real.images_NCHW)) % 2 == 0
    label_N = torch.tensor(real.labels)
    network = train_feature_network(real.images_NCHW[half], label_N[half], seed=SEED)
    reference_NCHW = real.images_NCHW[~half]
    with torch.no_grad():
        accuracy = network.accuracy(reference_NCHW, label_N[~half])
        figures = measure(pipeline, network, reference_NCHW, args.count, json.loads(args.names.read_text()))
        floor = frechet_distance(network.features(real.images_NCHW[half]), network.features(reference_NCHW))
    figures |= {
        "feature_net": FD_NAME, "feature_net_accuracy": accuracy, "real_against_real": floor,
        "samples": args.count, "reference_images": len(reference_NCHW), "seed": SEED, "threads": 1,
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    args.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
