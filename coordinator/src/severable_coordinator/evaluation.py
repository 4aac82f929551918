"""Measuring a composite against the operator's own held-out pictures: distances, cost, attribution, memorization.

What is written: evaluation.json with every figure, and three pictures of it. Either all of them or nothing.
"""

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.utils.logging import disable_progress_bar

from severable_coordinator.building import Progress
from severable_coordinator.errors import ConfigError, ConflictError, StorageError
from severable_coordinator.sampling import Counted, HandingOut
from severable_diffusion.environment import describe
from severable_diffusion.errors import CompositeError, DataError, ShardError
from severable_diffusion.evaluation import CUMULATIVE, DEFAULT, NAIVE, Measured, alone, measure
from severable_diffusion.images import ImageFolder, read_image_folder
from severable_diffusion.memorization import memorized_share
from severable_diffusion.pictures import grid, plot_shares, plot_weights
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.yardstick import Yardstick, inception_yardstick, trained_yardstick

SHOWN = 24  # samples in the picture
Shares = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: a composite of a group, what to call its shards (by hex of their ids), and all parties."""

    composite: str
    group: str
    directory: Path
    names: Mapping[str, str]
    everyone: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How to measure.

    Attributes:
        images: folder of real pictures that no party trained on.
        out: directory to make.
        count: images drawn in each way.
        seed: of the noise, of draws and of the feature network.
        inception: Inception's file for an FID; None for a feature network trained on the spot.
        training: folder of training images to look for copies of, where the operator has them.
    """

    images: Path
    out: Path
    count: int
    seed: int
    inception: Path | None = None
    training: Path | None = None


def evaluate_composite(
    subject: Subject,
    asked: Evaluation,
    *,
    progress: Progress,
    counted: Counted,
    handing_out: HandingOut = nullcontext,
) -> dict[str, object]:
    """Measure, write the directory, return what evaluation.json says.

    Raises:
        ConfigError: if the pictures, the network's file or the directory to write cannot be used.
        ConflictError: if the directory is there already.
        StorageError: if the composite cannot be loaded.
    """
    with as_ours(), whole(asked.out, handing_out) as out:
        disable_progress_bar()  # ours says how far it is
        pipeline = CompositePipeline.from_pretrained(subject.directory)
        pipeline.set_progress_bar_config(disable=True)
        training = _training(asked, pipeline)
        yardstick = _yardstick(asked, read_image_folder(asked.images, pipeline.shards.recipe.image), progress)
        lone = alone({shard: subject.names[shard] for shard in pipeline.shards.shard_ids})
        found = {}
        # What comes first also pays for torch's warming up: the way whose cost nobody asks for.
        ways = (NAIVE, *lone, DEFAULT, CUMULATIVE)
        for one in measure(pipeline, yardstick, ways, count=asked.count, seed=asked.seed, told=progress):
            way = one.drawn.way
            counted(one.drawn.attribution, pipeline.shards.shard_ids if way.shard is None else [way.shard])
            found[way] = one
        shares = _attribution(pipeline, subject.names, found[DEFAULT], found[CUMULATIVE])
        _pictures(out, subject, shares, found[DEFAULT], found[CUMULATIVE])
        result = _facts(subject, asked, yardstick) | {
            "rows": [
                _row(found[way], [found[one] for one in lone], subject.names, training)
                for way in (DEFAULT, CUMULATIVE, NAIVE, *lone)
            ],
            "attribution": shares,
        }
        (out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


@contextmanager
def as_ours() -> Iterator[None]:
    """Give errors of images and composites our names: ConfigError, StorageError."""
    try:
        yield
    except DataError as error:
        raise ConfigError(str(error)) from error
    except (CompositeError, ShardError) as error:
        raise StorageError(str(error)) from error


@contextmanager
def whole(out: Path, handing_out: HandingOut = nullcontext) -> Iterator[Path]:
    """A scratch directory that becomes `out` when all is written, and goes if anything fails."""
    if out.exists():
        raise ConflictError(f"{out}: exists already; choose a new directory")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            part = Path(scratch) / out.name
            part.mkdir()
            yield part
            with handing_out():
                part.replace(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); choose another place") from error


def _yardstick(asked: Evaluation, real: ImageFolder, progress: Progress) -> Yardstick:
    if asked.inception is not None:
        progress("Inception's features of the real images", 0, 1)
        made = inception_yardstick(asked.images, real, asked.inception)
        progress("Inception's features of the real images", 1, 1)
        return made
    if len(real.classes) < 2:
        raise ConfigError(
            f"{asked.images}: has no classes, and a distance needs labels for its classifier; put the images into one "
            "subfolder for each class, or give --inception FILE"
        )
    progress("feature network", 0, 1)
    made = trained_yardstick(asked.images, real, asked.seed)
    progress("feature network", 1, 1)
    return made


def _training(asked: Evaluation, pipeline: CompositePipeline) -> torch.Tensor | None:
    if asked.training is None:
        return None
    images_NCHW = read_image_folder(asked.training, pipeline.shards.recipe.image).images_NCHW
    if len(images_NCHW) < 2:
        raise ConfigError(f"{asked.training}: holds one image; copies are told from at least two")
    return images_NCHW


def _facts(subject: Subject, asked: Evaluation, yardstick: Yardstick) -> dict[str, object]:
    return {
        "composite": subject.composite,
        "group": subject.group,
        "measure": yardstick.name,
        "feature_net_accuracy": yardstick.accuracy,
        "real_against_real": yardstick.floor,
        "reference_images": len(yardstick.reference_ND),
        "samples": asked.count,
        "seed": asked.seed,
        "environment": describe() | {"threads": str(torch.get_num_threads())},
    }


def _row(
    one: Measured, lone: Collection[Measured], names: Mapping[str, str], training_NCHW: torch.Tensor | None
) -> dict[str, object]:
    drawn = one.drawn
    base = sum(other.drawn.seconds_per_image for other in lone) / len(lone)
    copied = None if training_NCHW is None else memorized_share(drawn.images_NCHW, training_NCHW)
    return {
        "way": drawn.way.name,
        "dispatch": drawn.way.dispatch,
        "shard": drawn.way.shard,
        "party": None if drawn.way.shard is None else names[drawn.way.shard],
        "distance": one.distance,
        "shards_per_sample_and_step": drawn.attribution.evaluations_per_step,
        "processor_seconds_per_image": drawn.seconds_per_image,
        "times_one_shard": drawn.seconds_per_image / base if base else None,
        "memorized": copied,
    }


def _attribution(
    pipeline: CompositePipeline, names: Mapping[str, str], default: Measured, mixture: Measured
) -> dict[str, Shares]:
    """Every measure of whose the images are, by party."""
    ids = pipeline.shards.shard_ids
    lambda_K = pipeline.shards.log_lambda_K.exp()

    def by_party(weight_K: torch.Tensor) -> Shares:
        shares: Shares = {}
        for shard, weight in zip(ids, weight_K.double() / weight_K.double().sum(), strict=True):
            shares[names[shard]] = round(shares.get(names[shard], 0.0) + float(weight), 6)
        return dict(sorted(shares.items()))

    drawn, mixed = default.drawn.attribution, mixture.drawn.attribution
    return {
        "contract (lambda)": by_party(lambda_K),
        "default: realised": by_party(drawn.realised_NK.mean(dim=0)),
        "mixture: mean over steps": by_party(mixed.weights_NK.mean(dim=0)),
        "mixture: by log-SNR": by_party(mixed.weighted_NK.mean(dim=0)),
        "mixture: realised": by_party(mixed.realised_NK.mean(dim=0)),
    }


def _pictures(out: Path, subject: Subject, shares: Mapping[str, Shares], default: Measured, mixture: Measured) -> None:
    drawn, mixed = default.drawn, mixture.drawn.attribution
    shown = drawn.images_NCHW[:SHOWN]
    leaders = [drawn.attribution.leader(image) for image in range(len(shown))]
    labels = [f"{subject.names[shard]} {weight:.0%}" for shard, weight in leaders]
    grid(shown, labels, columns=8, everyone=subject.everyone).save(out / "samples.png")
    names = [subject.names[shard] for shard in mixed.shard_ids]
    plot_weights(out / "weights.png", mixed.trajectory_SNK, mixed.log_snr, names, everyone=subject.everyone)
    plot_shares(out / "shares.png", shares, everyone=subject.everyone)
