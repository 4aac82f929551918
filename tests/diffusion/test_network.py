import json
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DModel
from diffusion.conftest import TinyFederation
from diffusion.recipes import tiny
from safetensors.torch import save

from severable_diffusion import network
from severable_diffusion.errors import ShardError
from severable_diffusion.recipe import Recipe

Tensors = dict[str, torch.Tensor]


def test_the_expected_tensors_are_those_of_a_built_network(recipe: Recipe) -> None:
    built = {name: ("F32", tuple(tensor.shape)) for name, tensor in network.build(recipe).state_dict().items()}
    assert network.expected_tensors(recipe) == built


def test_diffusers_builds_the_same_network_from_the_shipped_config(recipe: Recipe) -> None:
    theirs = UNet2DModel.from_config(json.loads(network.config_bytes(recipe)))
    assert {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()} == {
        name: shape for name, (_, shape) in network.expected_tensors(recipe).items()
    }


def test_diffusers_own_class_says_the_same_byte_for_byte_and_names_the_same_dtype(recipe: Recipe) -> None:
    ours = network.build_seeded(recipe, 0).eval()
    theirs = UNet2DModel.from_config(json.loads(network.config_bytes(recipe))).eval()
    theirs.load_state_dict(ours.state_dict())
    x_NCHW = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(x_NCHW, 3).sample, theirs(x_NCHW, 3).sample)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert ours.to(dtype).dtype == theirs.to(dtype).dtype == dtype


def test_a_network_whose_layers_are_cast_one_by_one_names_the_dtype_it_computes_in(recipe: Recipe) -> None:
    cast = network.build_seeded(recipe, 0).eval()
    cast.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    assert cast.conv_in.weight.dtype == torch.bfloat16
    assert cast.dtype == torch.float32


def test_the_config_depends_on_the_recipe_alone(recipe: Recipe) -> None:
    assert network.config_bytes(recipe) == network.config_bytes(tiny())
    assert network.config_bytes(recipe) != network.config_bytes(tiny(architecture={"layers_per_block": 2}))


def test_a_seeded_network_repeats_and_leaves_the_global_random_state_alone(recipe: Recipe) -> None:
    before = torch.random.get_rng_state()
    first, second = network.build_seeded(recipe, 7), network.build_seeded(recipe, 7)
    other = network.build_seeded(recipe, 8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert network.dump(first.state_dict()) == network.dump(second.state_dict())
    assert network.dump(first.state_dict()) != network.dump(other.state_dict())


def test_dumped_bytes_do_not_depend_on_the_order_of_names(recipe: Recipe) -> None:
    tensors = network.build_seeded(recipe, 0).state_dict()
    assert network.dump(dict(reversed(tensors.items()))) == network.dump(tensors)


def test_a_loaded_network_gives_what_the_dumped_one_gave(recipe: Recipe) -> None:
    made = network.build_seeded(recipe, 0).eval()
    loaded = network.load(recipe, network.dump(made.state_dict()))
    x_NCHW = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(x_NCHW, 3).sample, made(x_NCHW, 3).sample)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def _without(tensors: Tensors) -> None:
    del tensors["conv_in.bias"]


def _with_more(tensors: Tensors) -> None:
    tensors["extra"] = torch.zeros(1)


def _other_shape(tensors: Tensors) -> None:
    tensors["conv_in.bias"] = torch.zeros(3)


def _other_dtype(tensors: Tensors) -> None:
    tensors["conv_in.bias"] = tensors["conv_in.bias"].double()


def _not_finite(tensors: Tensors) -> None:
    tensors["conv_in.bias"] = tensors["conv_in.bias"] / 0.0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without, "lacks tensor conv_in.bias"),
        (_with_more, "has tensor extra"),
        (_other_shape, r"conv_in.bias is torch.float32 \(3,\); the recipe wants float32 \(8,\)"),
        (_other_dtype, "conv_in.bias is torch.float64"),
        (_not_finite, "conv_in.bias holds NaN"),
    ],
)
def test_a_shard_that_is_not_the_recipes_network_is_refused(
    federation: TinyFederation, spoil: Callable[[Tensors], None], says: str
) -> None:
    tensors = dict(network.load(federation.recipe, federation.shards["sha256:aa"]).state_dict())
    spoil(tensors)
    with pytest.raises(ShardError, match=says):
        network.load(federation.recipe, save(tensors))


@pytest.mark.parametrize("data", [b"", b"not safetensors", b"\x80\x04K\x01."])
def test_bytes_that_are_not_safetensors_are_refused(recipe: Recipe, data: bytes) -> None:
    with pytest.raises(ShardError, match="cannot be read"):
        network.load(recipe, data)
