"""The batches of one training, in the order of its steps: which images, at which times, under which noise.

Shapes: N images, B batch, C, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from severable_diffusion.noising import NoisedBatch, noised
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from severable_diffusion.images import ImageRows
    from severable_diffusion.recipe import Recipe


class Batches:
    """Draws one batch after the other.

    Args:
        recipe: how large they are and how they are noised.
        images_NCHW: the party's images, float32 in [-1, 1].
        label_N: int64, the label of each, where the recipe has conditions.
        rows_N: the images that may be drawn, int64; None for all of them.
        generator: the only randomness.

    Attributes:
        generator: where the next batch comes from; beside the arguments, it depends on its state alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        images_NCHW: ImageRows,
        label_N: torch.Tensor | None,
        rows_N: torch.Tensor | None,
        generator: torch.Generator,
    ) -> None:
        self.generator = generator
        self._recipe, self._schedule = recipe, NoiseSchedule.of(recipe.process)
        self._images_NCHW, self._label_N, self._rows_N = images_NCHW, label_N, rows_N
        self._ahead: tuple[torch.Tensor, torch.Generator, NoisedBatch] | None = None

    def take(self) -> NoisedBatch:
        """Return the next batch."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and torch.equal(ahead[0], self.generator.get_state()):
            _, self.generator, batch = ahead
            return batch
        return self._draw(self.generator)

    def draw_ahead(self) -> None:
        """Draw the next batch now, while a GPU is still at this one; the generator stays where it is."""
        before = self.generator.get_state()
        after = torch.Generator()
        after.set_state(before)
        self._ahead = before, after, self._draw(after)

    def _draw(self, source: torch.Generator) -> NoisedBatch:
        size = self._recipe.training.batch
        if self._rows_N is None:
            rows_B = torch.randint(len(self._images_NCHW), (size,), generator=source)
        else:
            rows_B = self._rows_N[torch.randint(len(self._rows_N), (size,), generator=source)]
        label_B, drop = None, 0.0
        if self._label_N is not None and self._recipe.conditions is not None:
            label_B, drop = self._label_N[rows_B], self._recipe.conditions.drop
        return noised(self._recipe, self._schedule, self._images_NCHW[rows_B], source, label_B, drop=drop)
