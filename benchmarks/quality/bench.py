"""One data set with one seed: its trained networks, features and federations, and how distances are measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quality import shards, work
from quality.composites import Federation, Samples, samples
from quality.draws import LABELLED, Asked
from quality.features import Features, path_of, trained
from quality.run import ALONE, Run
from quality.splits import EVERYTHING, Part, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from quality.builds import Built
    from quality.data import LabelledImages
    from quality.plan import Size
    from severable_diffusion.composition import Dispatch
    from severable_diffusion.recipe import Recipe

PROTOCOL = b"quality v1"
NAIVE_SAMPLES = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Where one data set is measured with one seed.

    Attributes:
        images: the data set.
        size: how large the run is.
        work: the work folder.
        seed: of trainings and samples.
        run: where to compute, and until when.
    """

    images: LabelledImages
    size: Size
    work: Path
    seed: int
    run: Run = ALONE

    @property
    def folder(self) -> Path:
        """What belongs to the data set."""
        return self.work / self.images.name

    @cached_property
    def features(self) -> Features:
        """The feature network."""
        self.folder.mkdir(parents=True, exist_ok=True)
        steps, name = self.size.features_steps, self.size.features
        if not path_of(self.images, self.folder, steps, name).exists():
            self.run.make_room()
        return trained(self.images, self.folder, steps, name=name, device=self.run.device)

    @property
    def few(self) -> int:
        """How many samples naive averaging is measured on."""
        return min(NAIVE_SAMPLES, self.size.samples)

    def federation(self, split: str, recipe: Recipe | None = None) -> Federation:
        """Return a split's shards, trained now where they are not yet."""
        found = [self._shard(part, recipe or self.size.recipe) for part in self.parts(split)]
        return Federation(
            folder=self.folder, recipe=recipe or self.size.recipe, shards=tuple(found), seed=self.seed, run=self.run
        )

    def parts(self, split: str) -> tuple[Part, ...]:
        """Return who holds what."""
        return parts_of(split, self.images.train_label_N)

    def images_of(self, split: str) -> dict[str, torch.Tensor]:
        """Return every part's images, by its name."""
        return {part.name: self.images.train_NCHW[part.rows_N] for part in self.parts(split)}

    def labels_of(self, split: str) -> dict[str, torch.Tensor]:
        """Return the labels of every part's images, by its name."""
        return {part.name: self.images.train_label_N[part.rows_N] for part in self.parts(split)}

    def _shard(self, part: Part, recipe: Recipe) -> shards.Shard:
        own_NCHW = self.images.train_NCHW[part.rows_N]
        label_N = self.images.train_label_N[part.rows_N]
        return shards.trained(
            self.folder, recipe, part.name, own_NCHW, seed=self.seed, told=_silent, label_N=label_N, run=self.run
        )

    def is_trained(self, split: str, recipe: Recipe | None = None) -> bool:
        """Whether all of a split's shards are there."""
        plan = recipe or self.size.recipe
        return all(self.path_of(part, plan).with_suffix(".json").exists() for part in self.parts(split))

    def path_of(self, part: Part, recipe: Recipe) -> Path:
        """Return where a shard is kept."""
        own_NCHW, label_N = self.images.train_NCHW[part.rows_N], self.images.train_label_N[part.rows_N]
        return shards.shard_path(self.folder, recipe, part.name, own_NCHW, self.seed, label_N=label_N)

    @property
    def monolith(self) -> Federation:
        """One network trained on everything, by the same recipe and so on as many images in total."""
        return self.federation(EVERYTHING)

    def draw(
        self,
        federation: Federation,
        built: Built | None,
        dispatch: str | Dispatch,
        kind: str,
        *,
        count: int | None = None,
        steps: int | None = None,
        asked: Asked = LABELLED,
        allowed: tuple[str, ...] | None = None,
    ) -> Samples:
        """Return samples of a composite; as many as the size says by default, and labels drawn evenly."""
        wanted, size = self.size.samples if count is None else count, self.size.batch
        return samples(
            federation, built, dispatch, kind=kind, count=wanted, batch=size, steps=steps, asked=asked, allowed=allowed
        )

    def distance(self, x_NCHW: torch.Tensor, rows_N: torch.Tensor | None = None) -> float:
        """Return the Frechet distance of images to the training images, or to some of them."""
        reference_NCHW = self.images.train_NCHW if rows_N is None else self.images.train_NCHW[rows_N]
        return self.features.distance(x_NCHW, reference_NCHW)

    def once(self, name: str, parts: list[Federation], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a measurement: kept by its name and what it is of, or measured now."""
        key = work.digest_of(PROTOCOL, *(federation.label.encode() for federation in parts))
        path = self.folder / "measures" / f"{name}-{self.seed}-{key}.json"
        if (found := work.kept_facts(path)) is None:
            self.run.make_room()
            found = measure()
            work.keep_facts(path, found)
        return found


def _silent(*_: object) -> None:
    """Tell nobody."""
