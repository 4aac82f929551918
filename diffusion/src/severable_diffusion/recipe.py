"""The recipe: what every shard of a federation shares.

One forward process, one data space, one parametrization and one architecture make the shards' predictions mixable at
all (CDM, arXiv 2308.01937, proposition 3.1); bank, router and sampler are here too, so that a composite is a pure
function of shards, lambdas and recipe. A recipe is data: plain JSON values in, frozen values out, nothing else read.

Byte equality of what is built from a recipe holds for one environment: see `severable_diffusion.environment`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from severable_diffusion import strict
from severable_diffusion.architecture import AnyArchitecture  # noqa: TC001  # read at run time, by strict.parse
from severable_diffusion.composite_recipe import (  # noqa: TC001  # read at run time, by strict.parse
    BankRecipe,
    RouterRecipe,
    SamplerRecipe,
)
from severable_diffusion.errors import RecipeError
from severable_diffusion.privacy import Privacy  # noqa: TC001  # read at run time, by strict.parse


@dataclass(frozen=True, slots=True)
class ImageSpace:
    """The data space: square images, values in [-1, 1].

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        size: height and width in pixels.
    """

    channels: int = strict.whole(1, 3)
    size: int = strict.whole(4, 1024)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "image")
        if self.channels == 2:
            raise RecipeError("image.channels", "is 2; must be 1 (grey) or 3 (RGB)")


@dataclass(frozen=True, slots=True)
class Process:
    """The forward process x_t = alpha_t x_0 + sigma_t eps (see `severable_diffusion.schedule`).

    Attributes:
        schedule: cosine, linear or flow.
        steps: number of discrete times T.
    """

    schedule: str = strict.word(("cosine", "linear", "flow"))
    steps: int = strict.whole(10, 10_000)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One shard's training budget: whichever of `epochs` and `max_steps` is reached first.

    Attributes:
        epochs: passes over the party's images. Small shards memorize early, so the budget is in epochs
            (Bonnaire et al., arXiv 2505.17638).
        max_steps: upper bound on optimizer steps.
        batch: images per step.
        learning_rate: AdamW peak learning rate, after a linear warm-up and before a cosine decay to zero.
        warmup_steps: length of the warm-up.
        weight_decay: AdamW weight decay.
        gradient_clip: largest gradient norm.
        ema_decay: decay of the moving average of the weights, which is what leaves the party.
        held_out: share of the party's images that are never trained on; the average that does best on them is what
            leaves the party (`severable_diffusion.held_out`). 0 holds nothing out and trains to the end.
        check_every: steps between two looks at the held-out images.
        patience: looks in a row without a better loss after which training ends.
        privacy: differentially private training (`severable_diffusion.private_training`); None for none. The gradient
            clip above is not used with it, and nothing is held out: such looks would spend privacy uncounted.
    """

    epochs: int = strict.whole(1, 1_000_000)
    max_steps: int = strict.whole(1, 10_000_000)
    batch: int = strict.whole(1, 4096)
    learning_rate: float = strict.real(1e-7, 1.0)
    warmup_steps: int = strict.whole(0, 1_000_000, 50)
    weight_decay: float = strict.real(0.0, 1.0, 0.0)
    gradient_clip: float = strict.real(1e-3, 1e3, 1.0)
    ema_decay: float = strict.real(0.0, 0.99999, 0.995)
    held_out: float = strict.real(0.0, 0.5, 0.0, later=True)
    check_every: int = strict.whole(1, 1_000_000, 100, later=True)
    patience: int = strict.whole(1, 1_000_000, 10, later=True)
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "training")
        if self.privacy is not None and self.held_out > 0.0:
            why = "looks at held-out images would spend privacy that nobody counts"
            raise RecipeError("training.held_out", f"must be 0 with training.privacy: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What images may be asked for by.

    Attributes:
        labels: names of the classes, 1 to 1000 different ones; a party's class folders carry these names.
        drop: share of the training samples that see no label, so that the unconditional branch of classifier-free
            guidance is trained too (Ho and Salimans, arXiv 2207.12598).
    """

    labels: tuple[str, ...] = field()
    drop: float = strict.real(0.0, 1.0, 0.1)

    def __post_init__(self) -> None:
        """Check the bounds."""
        strict.check(self, "conditions")
        where = "conditions.labels"
        if not 1 <= len(self.labels) <= 1000:
            raise RecipeError(where, f"has {len(self.labels)} names; must have between 1 and 1000")
        for label in self.labels:
            if not (1 <= len(label) <= 80 and label.isprintable() and label == label.strip()):
                raise RecipeError(where, f"has {label!r}; a name is 1 to 80 printable characters without outer spaces")
        if len(set(self.labels)) < len(self.labels):
            raise RecipeError(where, "names a label twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything the shards of one federation share; the sections are documented at their classes.

    Attributes:
        name: for people; 1 to 80 printable characters.
        parametrization: what the networks predict: eps, v, x0 or flow.
        conditions: what images may be asked for by; None for networks without conditions.
    """

    name: str = field()
    image: ImageSpace = field()
    process: Process = field()
    parametrization: str = strict.word(("eps", "v", "x0", "flow"))
    architecture: AnyArchitecture = field()
    training: Training = field()
    bank: BankRecipe = field()
    router: RouterRecipe = field()
    sampler: SamplerRecipe = field()
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        """Check that the sections fit each other."""
        strict.check(self)
        if not (1 <= len(self.name) <= 80 and self.name.isprintable()):
            raise RecipeError("name", "must be 1 to 80 printable characters")
        if self.image.size % self.router.patch:
            raise RecipeError("router.patch", f"is {self.router.patch}; must divide image.size ({self.image.size})")
        self.architecture.require_fit(self.image.size)
        wanted = "euler" if self.process.schedule == "flow" else "ddim"
        if self.sampler.scheduler != wanted:
            raise RecipeError("sampler.scheduler", f"must be {wanted} for the {self.process.schedule} schedule")
        if max(self.sampler.steps, self.bank.steps) > self.process.steps:
            raise RecipeError("process.steps", "must not be below sampler.steps or bank.steps")

    @property
    def labels(self) -> int:
        """How many labels there are; 0 without conditions. The index after the last stands for "no label"."""
        return len(self.conditions.labels) if self.conditions else 0

    @classmethod
    def from_dict(cls, value: object) -> Recipe:
        """Read a recipe from plain JSON values.

        Raises:
            RecipeError: naming the first field that is unknown, missing, of another type or out of bounds.
        """
        return strict.parse(cls, value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` of them is this recipe."""
        values: dict[str, Any] = strict.plain(self)
        return values

    def to_bytes(self) -> bytes:
        """Return the recipe as JSON with sorted keys and no spaces: the same bytes for equal recipes."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":")).encode()
