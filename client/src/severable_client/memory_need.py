"""How much memory training a recipe takes: counted on torch's meta device, where tensors have shapes and no bytes.

Only the process of `torch_facts` imports this module: torch stays out of the daemon and the command line.
"""

from dataclasses import dataclass

import torch

from severable_diffusion import network
from severable_diffusion.recipe import Recipe

FLOAT_BYTES = 4
RUNTIME_BYTES = 400 << 20  # of a process that has loaded torch and diffusers, before it does anything


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """An estimate in bytes, part by part.

    Attributes:
        weights: the network's weights, once more their moving average, and the best one where images are held out.
        gradients: one number for each weight.
        optimizer: AdamW's two moments.
        activations: what a forward pass keeps for the backward pass, of one of a batch's parts.
        images: one batch, float32; all others stay in a file.
        runtime: the process itself.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    images: int
    runtime: int = RUNTIME_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.images + self.runtime


def memory_need(recipe: Recipe, accumulate: int = 1) -> MemoryNeed:
    """Return what training by a recipe takes, in bytes.

    Args:
        recipe: the recipe.
        accumulate: parts that a batch goes through the network in.

    Raises:
        RecipeError: the network cannot be built.
    """
    with torch.device("meta"):
        denoiser = network.build(recipe).train()
    numbers = sum(parameter.numel() for parameter in denoiser.parameters())
    per_image = recipe.image.channels * recipe.image.size**2 * FLOAT_BYTES
    copies = 3 if recipe.training.held_out else 2
    batch = recipe.training.batch
    return MemoryNeed(
        weights=copies * numbers * FLOAT_BYTES,
        gradients=numbers * FLOAT_BYTES,
        optimizer=2 * numbers * FLOAT_BYTES,
        activations=kept_bytes(denoiser, recipe, -(-batch // accumulate), "meta"),
        images=batch * per_image,
    )


def kept_bytes(denoiser: network.AnyDenoiser, recipe: Recipe, batch: int, device: str) -> int:
    """Return how many bytes a forward pass of a batch keeps for the backward pass, weights left out, each once."""
    own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}  # noqa: SLF001  # a storage's identity; meta tensors have no address
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # noqa: SLF001  # as above
            kept[storage._cdata] = storage  # noqa: SLF001  # held, so that no other storage gets its identity
        return tensor

    size = recipe.image.size
    x_NCHW = torch.zeros((batch, recipe.image.channels, size, size), device=device)
    label_N = torch.zeros(batch, dtype=torch.int64, device=device) if recipe.labels else None
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.predict(denoiser, x_NCHW, torch.zeros(batch, device=device), label_N)
        return sum(storage.nbytes() for storage in kept.values())
