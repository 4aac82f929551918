"""The denoiser of a recipe: built from a checked config, filled from checked bytes, never from a pickle.

A shard's `config.json` must equal `config_bytes(recipe)` byte for byte, and its tensors `expected_tensors(recipe)`, so
what is built here depends on the recipe alone.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch

from severable_diffusion import transformer
from severable_diffusion.architecture import Architecture, TransformerArchitecture
from severable_diffusion.diffusers_parts import UNet2DModel
from severable_diffusion.errors import RecipeError, ShardError
from severable_diffusion.transformer import TransformerDenoiser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from severable_diffusion.recipe import Recipe

Condition: TypeAlias = "torch.Tensor | None"
"""What a network, or a router, is told beside state and time: label_N, int64, or nothing."""

SAFETENSORS_DTYPE = "F32"
MAX_WEIGHTS = 1 << 30  # numbers: four GiB of float32


class Denoiser(UNet2DModel):  # type: ignore[misc]  # diffusers ships no types
    """UNet2DModel as it is, but for its `dtype`, which it asks for in every call.

    diffusers walks over all modules to answer, 0.4 ms of the 4 to 5 ms that a call costs before its first row, twice
    with labels; and a composite makes many small calls. All weights here have one dtype, so the first tells it.
    """

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights; diffusers' own answer where its hooks cast layers one by one."""
        if hasattr(self.conv_in, "_diffusers_hook"):
            hooked: torch.dtype = super().dtype
            return hooked
        first: torch.dtype = self.conv_in.weight.dtype
        return first


AnyDenoiser: TypeAlias = Denoiser | TransformerDenoiser


def _config(recipe: Recipe) -> dict[str, Any]:
    parts = recipe.architecture
    if isinstance(parts, TransformerArchitecture):
        return transformer.config(parts, recipe.image, recipe.labels)
    return _unet_config(recipe, parts)


def _unet_config(recipe: Recipe, parts: Architecture) -> dict[str, Any]:
    labelled = {"num_class_embeds": recipe.labels + 1} if recipe.labels else {}  # one more for "no label"
    return {
        **labelled,
        "_class_name": "UNet2DModel",
        "sample_size": recipe.image.size,
        "in_channels": recipe.image.channels,
        "out_channels": recipe.image.channels,
        "block_out_channels": list(parts.block_out_channels),
        "layers_per_block": parts.layers_per_block,
        "down_block_types": list(parts.down_block_types),
        "up_block_types": list(parts.up_block_types),
        "mid_block_type": "UNetMidBlock2D" if parts.mid_block else None,
        "add_attention": parts.mid_attention,
        "norm_num_groups": parts.norm_num_groups,
        "attention_head_dim": parts.attention_head_dim,
        "dropout": 0.0,
        "act_fn": "silu",
    }


def config_bytes(recipe: Recipe) -> bytes:
    """Return the one `config.json` that every shard of the recipe ships: JSON with sorted keys and a final newline."""
    return (json.dumps(_config(recipe), sort_keys=True, indent=2) + "\n").encode()


def build(recipe: Recipe) -> AnyDenoiser:
    """Return a fresh network on the default device, initialised from torch's global random state.

    Raises:
        RecipeError: if diffusers cannot build the architecture, or it has more than `MAX_WEIGHTS` numbers.
    """
    _shapes(recipe)  # sized before anything is allocated: the recipe may be somebody else's
    denoiser = _build(recipe)
    if isinstance(denoiser, TransformerDenoiser):
        denoiser.begin_as_identity()
    return denoiser


def _build(recipe: Recipe) -> AnyDenoiser:
    transformed = isinstance(recipe.architecture, TransformerArchitecture)
    kind: type[AnyDenoiser] = TransformerDenoiser if transformed else Denoiser
    try:
        denoiser: AnyDenoiser = kind.from_config(_config(recipe))
    except (ValueError, NotImplementedError, ZeroDivisionError) as error:
        raise RecipeError("architecture", f"diffusers cannot build it: {error}") from error
    if isinstance(denoiser, TransformerDenoiser):
        denoiser.hide_no_label()
    return denoiser


def build_seeded(recipe: Recipe, seed: int) -> AnyDenoiser:
    """Return a fresh network whose initial weights depend on `seed` alone; torch's global state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's initialisers take no generator
        return build(recipe)


def _build_on_meta(recipe: Recipe) -> AnyDenoiser:
    with torch.device("meta"):
        return _build(recipe)


@functools.lru_cache(maxsize=16)
def _shapes(recipe: Recipe) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found = sorted(_build_on_meta(recipe).state_dict().items())
    if (count := sum(tensor.numel() for _, tensor in found)) > MAX_WEIGHTS:
        raise RecipeError("architecture", f"has {count} weights; must have {MAX_WEIGHTS} or fewer: make it narrower")
    return tuple((name, tuple(tensor.shape)) for name, tensor in found)


def predict(
    network: Callable[..., Any], x_t_NCHW: torch.Tensor, time: float | torch.Tensor, condition: Condition = None
) -> torch.Tensor:
    """Return what a network says of noisy states: the one place where a network is called for its prediction.

    Args:
        network: a recipe's, or anything that is called like a UNet2DModel.
        x_t_NCHW: the states.
        time: the recipe's time, one for all or one for each; between two whole times is possible.
        condition: label_N for a network with conditions, else None. Another kind of condition would be passed here.
    """
    if isinstance(time, float):
        time = torch.full((len(x_t_NCHW),), time, device=x_t_NCHW.device)
    if condition is None:
        said_NCHW: torch.Tensor = network(x_t_NCHW, time, return_dict=False)[0]
    else:
        said_NCHW = network(x_t_NCHW, time, class_labels=condition, return_dict=False)[0]
    return said_NCHW


def expected_tensors(recipe: Recipe) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return safetensors dtype and shape of every tensor of a shard, by name; no weights are allocated."""
    return {name: (SAFETENSORS_DTYPE, shape) for name, shape in _shapes(recipe)}


def load(recipe: Recipe, data: bytes) -> AnyDenoiser:
    """Return the recipe's network with the weights in `data`, in eval mode, without gradients.

    Args:
        recipe: what the shard was trained by.
        data: the bytes of a `model.safetensors`.

    Raises:
        ShardError: if the bytes are not safetensors, or names, dtypes, shapes or finiteness are not as expected.
    """
    try:
        tensors = safetensors_torch.load(data)
    except (SafetensorError, KeyError) as error:
        raise ShardError(f"model.safetensors cannot be read: {error}; ship it again") from error
    _check(expected_tensors(recipe), tensors)
    network = _build_on_meta(recipe)
    network.load_state_dict(tensors, strict=True, assign=True)
    if isinstance(network, TransformerDenoiser):
        network.write_positions()
    network.requires_grad_(requires_grad=False).eval()
    return network


def _check(expected: Mapping[str, tuple[str, tuple[int, ...]]], tensors: Mapping[str, torch.Tensor]) -> None:
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ShardError(f"model.safetensors lacks tensor {name}; the recipe's network has it")
        if name not in expected:
            raise ShardError(f"model.safetensors has tensor {name}; the recipe's network does not")
        tensor, (_, shape) = tensors[name], expected[name]
        if tensor.dtype is not torch.float32 or tuple(tensor.shape) != shape:
            found = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ShardError(f"model.safetensors tensor {name} is {found}; the recipe wants float32 {shape}")
        if not torch.isfinite(tensor).all():
            raise ShardError(f"model.safetensors tensor {name} holds NaN or infinity; train the shard again")


def dump(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return tensors as safetensors without metadata: equal tensors give equal bytes, whatever the mapping's order."""
    ordered = {name: tensors[name].detach().to("cpu").contiguous() for name in sorted(tensors)}
    return bytes(safetensors_torch.save(ordered))
