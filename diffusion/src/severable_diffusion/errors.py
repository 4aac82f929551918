"""Every error this package raises.

    DiffusionError            base, never raised itself
    ├── RecipeError           a recipe's field is unknown, missing or out of bounds
    ├── DataError             an image folder or file cannot be used
    ├── ShardError            a shard's bytes do not fit the recipe
    ├── CheckpointError       a kept training cannot be taken up again
    ├── MemoryShortError      a training does not fit the device's memory
    ├── TeamError             a process of several that train together is gone
    └── CompositeError        a composite cannot be written, loaded or sampled as asked

Each message is one line: what, where, what to do. Errors of torch, Pillow and safetensors are mapped to these at the
place where the foreign call is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


MAX_MESSAGE = 400  # characters


class DiffusionError(Exception):
    """Base of this package's errors; never raised itself."""


class RecipeError(DiffusionError):
    """A recipe is not one this package can follow.

    Attributes:
        field: dotted name of the field, for example ``training.batch``.
    """

    def __init__(self, field: str, reason: str) -> None:
        # The name of an unknown field and a value are quoted as they came: they must not write lines of their own.
        line = f"recipe field {field}: {reason}"
        line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
        super().__init__(line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 3] + "...")
        self.field = field


class DataError(DiffusionError):
    """An image folder or one of its files cannot be used for training.

    Attributes:
        path: the folder or file.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class ShardError(DiffusionError):
    """A shard's bytes do not hold the network that the recipe describes."""


class CheckpointError(DiffusionError):
    """A kept training cannot be taken up again.

    Attributes:
        path: its file.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class MemoryShortError(DiffusionError):
    """A training does not fit the memory of the device, not even in smaller parts."""


class TeamError(DiffusionError):
    """A process of several that train together is gone, or out of step; the training can be taken up again."""


class CompositeError(DiffusionError):
    """A composite cannot be written, loaded or sampled as asked."""
