"""The membership audit: does a composite tell a party's training images from others of the same kind?

Whoever runs it gives both folders: a coordinator has no images. After a removal the answer should be "no better than
guessing"; the same audit of the composite before, or its kept result, is the contrast that shows the attack works.
What is written: membership.json with every figure, and roc.png. Either both or nothing.
"""

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from severable_coordinator.building import Progress
from severable_coordinator.errors import ConfigError
from severable_coordinator.evaluation import as_ours, whole
from severable_coordinator.sampling import HandingOut
from severable_diffusion.environment import describe
from severable_diffusion.images import read_image_folder
from severable_diffusion.membership_attack import DRAWS, LEVELS, SCORES, Told, losses, told_apart
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.roc_picture import plot_curves

HEADLINE = SCORES[0]
Audited = dict[str, Told]  # by score


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is asked.

    Attributes:
        held_in: folder of images that the party's shard was trained on.
        held_out: folder of images of the same kind that it was not.
        out: directory to make.
        seed: of the bootstrap.
        before: for contrast, a composite from before (its directory), or the membership.json of an earlier audit with
            the same images; None for none.
    """

    held_in: Path
    held_out: Path
    out: Path
    seed: int
    before: Path | None = None


def audit_composite(
    composite: str, directory: Path, asked: Audit, progress: Progress, handing_out: HandingOut = nullcontext
) -> dict[str, object]:
    """Audit, write the directory, return what membership.json says.

    Args:
        composite: what the composite is called.
        directory: where it lies.
        asked: the images, the contrast, where to write.
        progress: told how many images were looked at.
        handing_out: the moment in which the directory gets its name; raises where it must not.

    Raises:
        ConfigError: if images, contrast or the directory to write cannot be used.
        ConflictError: if the directory is there already.
        StorageError: if a composite cannot be loaded.
    """
    with as_ours(), whole(asked.out, handing_out) as out:
        now, counts = _audited(directory, asked, "composite", progress)
        found = {"composite": now}
        if asked.before is not None:
            found["before"] = _before(asked.before, asked, counts, progress)
        result: dict[str, object] = {
            "composite": composite,
            "held_in_images": counts[0],
            "held_out_images": counts[1],
            "headline": HEADLINE,
            "no_better_than_guessing": now[HEADLINE].by_chance,
            "attacks": {
                name: {score: asdict(one) for score, one in audited.items()} for name, audited in found.items()
            },
            "levels": list(LEVELS),
            "noises_per_level": DRAWS,
            "seed": asked.seed,
            "environment": describe() | {"threads": str(torch.get_num_threads())},
        }
        plot_curves(
            out / "roc.png",
            {name: audited[HEADLINE] for name, audited in found.items()},
            title="Are training images told from others?",
        )
        (out / "membership.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _audited(directory: Path, asked: Audit, name: str, progress: Progress) -> tuple[Audited, tuple[int, int]]:
    pipeline = CompositePipeline.from_pretrained(directory)
    image = pipeline.shards.recipe.image
    sides = []
    for what, folder in (("held-in", asked.held_in), ("held-out", asked.held_out)):
        images_NCHW = read_image_folder(folder, image).images_NCHW
        if len(images_NCHW) < 2:
            raise ConfigError(f"{folder}: holds one image; an attack needs at least two, better hundreds")
        sides.append(losses(pipeline, images_NCHW, partial(progress, f"{name}: losses of {what} images")))
    found = {score: told_apart(sides[0].score(score), sides[1].score(score), seed=asked.seed) for score in SCORES}
    return found, (len(sides[0].mixture_N), len(sides[1].mixture_N))


def _before(path: Path, asked: Audit, counts: tuple[int, int], progress: Progress) -> Audited:
    """The contrast: audited now, or read from an earlier audit's figures."""
    if path.is_dir():
        return _audited(path, asked, "before", progress)[0]
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if (kept["held_in_images"], kept["held_out_images"]) != counts:
            raise ConfigError(f"{path}: was made with other images; give the result of an audit with the same ones")
        return {score: _told(kept["attacks"]["composite"][score]) for score in SCORES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is neither a composite's directory nor a membership.json") from error


def _told(kept: dict[str, object]) -> Told:
    rates = {name: tuple(map(float, kept[name])) for name in ("false_rates", "hit_rates")}  # type: ignore[call-overload]
    return Told(**(kept | rates))  # type: ignore[arg-type]  # a field that is missing or too many is a TypeError
