"""What a shard is trained on: images picked by row, their labels, and the digest that its claim carries.

Shapes: N images, B of a batch, C channels, H height, W width.
"""

from dataclasses import dataclass

import torch

from severable_client.errors import DataFolderError
from severable_diffusion.images import ImageRows
from severable_diffusion.recipe import Recipe
from severable_trust.shard import DataDigest

_SHOWN = 10  # label names in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """A party's images for one recipe.

    Attributes:
        images_NCHW: float32 in [-1, 1]; a tensor, or rows of a file.
        label_N: int64, the recipe's label of each image; None for a recipe without conditions.
        data: what the claim says about them.
    """

    images_NCHW: ImageRows
    label_N: torch.Tensor | None = None
    data: DataDigest


def label_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the names that a recipe's images are asked for by; none without conditions."""
    return recipe.conditions.labels if recipe.conditions else ()


def require_label(name: str, recipe: Recipe, where: str) -> None:
    """Refuse a class that a recipe with conditions does not know.

    Raises:
        DataFolderError: it names the class and the recipe's labels.
    """
    labels = label_names(recipe)
    if labels and name not in labels:
        known = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
        raise DataFolderError(
            f"{where}: class {name!r} is none of the {len(labels)} labels of recipe {recipe.name!r} ({known});"
            " rename the folder, or the label in the metadata"
        )


def label_rows(class_N: torch.Tensor, classes: tuple[str, ...], recipe: Recipe, where: str) -> torch.Tensor | None:
    """Return each image's label as the recipe counts them, int64; None for a recipe without conditions.

    Args:
        class_N: int64, each image's place in `classes`.
        classes: the classes' names.
        recipe: the recipe.
        where: as in `require_label`.

    Raises:
        DataFolderError: as `require_label`.
    """
    labels = label_names(recipe)
    if not labels:
        return None
    for name in classes:
        require_label(name, recipe, where)
    return torch.tensor([labels.index(name) for name in classes])[class_N]
