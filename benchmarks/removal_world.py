"""What benchmarks/removal.py measures on: real images over eight parties, their shards, a coordinator that has them.

The coordinator is the real one in a home directory of its own, as the tests make it (tests/coordinator/federation.py);
only Flower is not there, which carries no weights. Shapes: N images, C, H, W.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from coordinator.federation import GROUP, ManualClock, World, quiet
from quality import data
from quality.splits import parts_of
from sklearn.datasets import load_digits

from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.stores import utc_now
from severable_diffusion import network
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer
from severable_trust.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from severable_coordinator.ports import RecipeRecord

SEED = 20261126
SPLIT = "class-8"
DIGITS_TRAIN = 1200  # of scikit-learn's 1,797 digits


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """Real images, and who has which.

    Attributes:
        name: of the data set.
        train_NCHW: in [-1, 1].
        train_label_N: their classes.
        test_NCHW: images that nobody trains on.
        test_label_N: their classes.
        rows: of each party, its training images.
    """

    name: str
    train_NCHW: torch.Tensor
    train_label_N: torch.Tensor
    test_NCHW: torch.Tensor
    test_label_N: torch.Tensor
    rows: dict[str, torch.Tensor]

    def held_out(self, party: str) -> torch.Tensor:
        """Return the test images of a party's classes."""
        return self.test_NCHW[torch.isin(self.test_label_N, self.train_label_N[self.rows[party]])]


def read_images(folder: Path | None, name: str, pixels: int, per_class: int | None) -> Images:
    """Read a data set of benchmarks/quality, or scikit-learn's digits where no folder is given; split it by class."""
    if folder is None:
        digits = load_digits()
        x_NCHW = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8.0 - 1.0
        label_N = torch.tensor(digits.target, dtype=torch.int64)
        order_N = torch.randperm(len(x_NCHW), generator=torch.Generator().manual_seed(0))
        x_NCHW, label_N, name = x_NCHW[order_N], label_N[order_N], "digits"
        cut = DIGITS_TRAIN
        train_NCHW, train_label_N, test_NCHW, test_label_N = x_NCHW[:cut], label_N[:cut], x_NCHW[cut:], label_N[cut:]
    else:
        found = data.load(name, folder, pixels, per_class)
        train_NCHW, train_label_N = found.train_NCHW, found.train_label_N
        test_NCHW, test_label_N = found.test_NCHW, found.test_label_N
    rows = {part.name: part.rows_N for part in parts_of(SPLIT, train_label_N)}
    return Images(
        name=name, train_NCHW=train_NCHW, train_label_N=train_label_N, test_NCHW=test_NCHW,
        test_label_N=test_label_N, rows=rows,
    )  # fmt: skip


def recipe_of(base: Path, images: Images, changes: Mapping[str, Mapping[str, object]]) -> Recipe:
    """Read a recipe file (or a size of benchmarks/quality), fit it to the images, and change fields of its sections."""
    read: dict[str, Any] = json.loads(base.read_text())
    value: dict[str, Any] = read.get("recipe", read)
    _, channels, size, _ = images.train_NCHW.shape
    value["image"] = {"channels": channels, "size": size}
    for section, fields in changes.items():
        value[section] |= fields
    return Recipe.from_dict(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What the parties trained.

    Attributes:
        files: a shard's model.safetensors, by party.
        shard_s: seconds of each shard's training, by party.
    """

    files: dict[str, bytes]
    shard_s: dict[str, float]


def train(images: Images, recipe: Recipe, keep: Path) -> Trained:
    """Train shard after shard. What a folder kept of an earlier run with this recipe is not trained again."""
    files, shard_s = {}, {}
    for place, (party, rows_N) in enumerate(images.rows.items()):
        kept = keep / f"{Digest.of(recipe.to_bytes()).hex[:16]}-{party}.safetensors"
        seconds = kept.with_suffix(".json")
        if not seconds.exists():
            begun = time.perf_counter()
            kept.write_bytes(network.dump(Trainer(recipe, images.train_NCHW[rows_N], SEED + place).run().state_dict))
            seconds.write_text(json.dumps(time.perf_counter() - begun))
        files[party] = kept.read_bytes()
        shard_s[party] = json.loads(seconds.read_text())
        say(f"{place + 1} of {len(images.rows)} shards trained, {shard_s[party]:.0f} s")
    return Trained(files=files, shard_s=shard_s)


class Monolith:
    """One network for everybody's images, trained with as many steps as all shards together.

    A step costs what it costs, whichever it is: some are run, in turns with what they are compared with.

    Args:
        images: of all parties.
        recipe: the shards'.
    """

    def __init__(self, images: Images, recipe: Recipe) -> None:
        self.steps_of_a_shard = recipe.training.max_steps
        self.steps = self.steps_of_a_shard * len(images.rows)
        whole = replace(recipe, training=replace(recipe.training, max_steps=self.steps))
        self._trainer = Trainer(whole, images.train_NCHW, SEED)

    def step_s(self, steps: int) -> float:
        """Run so many steps; seconds of one."""
        begun = time.perf_counter()
        for _ in range(steps):
            self._trainer.advance()
        return (time.perf_counter() - begun) / steps


@dataclass
class Parties(World):
    """A coordinator whose parties train by one recipe of the benchmark's."""

    own: Recipe | None = None

    @property
    def recipe(self) -> RecipeRecord:
        """The benchmark's recipe."""
        if self.own is None:
            raise ValueError("the benchmark's recipe is missing")
        return record_of(self.own)

    @classmethod
    def with_shards(cls, home: Path, recipe: Recipe, trained: Trained) -> Parties:
        """A coordinator that holds every shard, and has assembled their composite."""
        made = cls(home, clock=ManualClock(utc_now()), own=recipe)
        for party, weights in trained.files.items():
            made.join(party)
            made.agree(party)
            files = {
                "model.safetensors": weights,
                "config.json": network.config_bytes(recipe),
                "manifest.json": b"{}",
            }
            verdict = made.upload(party, made.claim(party, files), files)
            if not verdict.admitted:
                raise ValueError(f"shard of {party} was not admitted: {verdict.reason}")
        made.coordinator.building.assemble(GROUP, quiet)
        return made

    def copied(self, home: Path, source: Coordinator | None = None) -> Coordinator:
        """A coordinator, this one by default, in a home of its own: what is done to it is not done here."""
        source = source or self.coordinator
        source.database.close()
        shutil.copytree(source.layout.home, home)
        opened = open_home(home)
        return Coordinator(opened.layout, opened.config, self.clock)

    def request(self, coordinator: Coordinator, party: str) -> Digest:
        """Send a party's erasure request to a copy; returns its id."""
        contract = coordinator.contracts.contracts(party)[0].id
        return coordinator.requests.receive(party, self.ask_for_erasure(party, contract)).request
