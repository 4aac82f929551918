"""The shards of one composite as a component that diffusers saves and loads.

On disk, one folder per shard beside an index:

    index.json                      the recipe, and (id, lambda) of every shard, sorted by id
    <id>/config.json                the recipe's network, byte for byte
    <id>/model.safetensors          the shard's weights

Loading builds every network from the recipe in the index and refuses any file that is not listed here, so nothing but
safetensors is ever opened. Shapes: K shards, M rows, C, H, W.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from severable_diffusion import network
from severable_diffusion.errors import CompositeError, RecipeError
from severable_diffusion.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX, CONFIG, WEIGHTS = "index.json", "config.json", "model.safetensors"
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,127}")


def folder_of(shard_id: str) -> str:
    """Return the folder name of a shard: its id, with the colon of `sha256:` made a dash.

    Raises:
        CompositeError: if the id could name another place.
    """
    if not ID_PATTERN.fullmatch(shard_id):
        raise CompositeError(f"shard id {shard_id!r} must be letters, digits, ':', '_' and '-', at most 128")
    return shard_id.replace(":", "-")


def index_bytes(recipe: Recipe, lambdas: Mapping[str, float]) -> bytes:
    """Return the canonical `index.json` of a set of shards.

    Raises:
        CompositeError: if there is no shard, a lambda is not above 0, or two ids share a folder.
    """
    if not lambdas:
        raise CompositeError("a composite needs at least one shard")
    for shard_id, share in lambdas.items():
        if not 0.0 < share < float("inf"):
            raise CompositeError(f"lambda of shard {shard_id} is {share}; it must be above 0")
    if len({folder_of(shard_id) for shard_id in lambdas}) < len(lambdas):
        raise CompositeError("two shard ids differ only in ':' and '-'; rename one")
    shards = [{"id": shard_id, "lambda": float(lambdas[shard_id])} for shard_id in sorted(lambdas)]
    return (json.dumps({"recipe": recipe.to_dict(), "shards": shards}, sort_keys=True, indent=2) + "\n").encode()


class ShardSet(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """K networks of one recipe, with their lambdas, ordered by shard id.

    Args:
        recipe: what all shards share.
        networks: each shard's network, from `severable_diffusion.network.load`, by shard id.
        lambdas: each shard's share of the mixture, above 0, by shard id; any common factor.

    Raises:
        CompositeError: if the ids of `networks` and `lambdas` differ, or a lambda is not above 0.
    """

    config_name = INDEX

    def __init__(self, recipe: Recipe, networks: Mapping[str, nn.Module], lambdas: Mapping[str, float]) -> None:
        super().__init__()
        if networks.keys() != lambdas.keys():
            raise CompositeError("every shard needs a lambda, and every lambda a shard")
        self.index = index_bytes(recipe, lambdas)
        self.recipe = recipe
        self.shard_ids = tuple(sorted(lambdas))
        self.lambdas = {shard_id: float(lambdas[shard_id]) for shard_id in self.shard_ids}
        self.networks = nn.ModuleList([networks[shard_id] for shard_id in self.shard_ids])

    @property
    def log_lambda_K(self) -> torch.Tensor:
        """Log lambda of every shard."""
        return torch.tensor([self.lambdas[shard_id] for shard_id in self.shard_ids], device=self.device).log()

    def predict(self, k: int, x_t_MCHW: torch.Tensor, t: int) -> torch.Tensor:
        """Return shard k's prediction at time t, in the recipe's parametrization."""
        prediction_MCHW: torch.Tensor = self.networks[k](x_t_MCHW, t, return_dict=False)[0]
        return prediction_MCHW

    def save_pretrained(self, save_directory: str | Path, **_options: Any) -> None:
        """Write the folder described above; diffusers' options for other formats do not apply."""
        shards = {
            shard_id: network.dump(module.float().state_dict())
            for shard_id, module in zip(self.shard_ids, self.networks, strict=True)
        }
        write_shards(Path(save_directory), self.recipe, shards, self.lambdas)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, torch_dtype: torch.dtype | None = None, **_options: Any
    ) -> ShardSet:
        """Load the folder described above.

        Raises:
            CompositeError: if the index or a config is not as written here, or a stray file is there.
            ShardError: if weights do not fit the recipe.
        """
        directory = Path(pretrained_model_name_or_path)
        recipe, lambdas = _read_index(directory / INDEX)
        _refuse_strays(directory, {INDEX, *(folder_of(shard_id) for shard_id in lambdas)})
        networks = {shard_id: _read_shard(directory / folder_of(shard_id), recipe) for shard_id in lambdas}
        shards: ShardSet = cls(recipe, networks, lambdas).eval()
        if torch_dtype is not None:
            shards.to(dtype=torch_dtype)
        return shards


def write_shards(directory: Path, recipe: Recipe, shards: Mapping[str, bytes], lambdas: Mapping[str, float]) -> None:
    """Write the folder described above from the shards' `model.safetensors` bytes, unchanged."""
    index = index_bytes(recipe, lambdas)
    directory.mkdir(parents=True, exist_ok=True)
    for shard_id, data in shards.items():
        folder = directory / folder_of(shard_id)
        folder.mkdir(exist_ok=True)
        (folder / CONFIG).write_bytes(network.config_bytes(recipe))
        (folder / WEIGHTS).write_bytes(data)
    (directory / INDEX).write_bytes(index)


def _read_index(path: Path) -> tuple[Recipe, dict[str, float]]:
    data = _read(path)
    try:
        index = json.loads(data)
        recipe = Recipe.from_dict(index["recipe"])
        lambdas = {str(shard["id"]): float(shard["lambda"]) for shard in index["shards"]}
    except (ValueError, KeyError, TypeError, RecipeError) as error:
        raise CompositeError(f"{path} is not a composite's index: {error}; assemble the composite again") from error
    if index_bytes(recipe, lambdas) != data:
        raise CompositeError(f"{path} is not in canonical form; assemble the composite again")
    return recipe, lambdas


def _read_shard(folder: Path, recipe: Recipe) -> nn.Module:
    _refuse_strays(folder, {CONFIG, WEIGHTS})
    if _read(folder / CONFIG) != network.config_bytes(recipe):
        raise CompositeError(f"{folder / CONFIG} is not the recipe's; assemble the composite again")
    module: nn.Module = network.load(recipe, _read(folder / WEIGHTS))
    return module


def _refuse_strays(folder: Path, known: set[str]) -> None:
    if not folder.is_dir():
        raise CompositeError(f"{folder} is missing; assemble the composite again")
    for entry in sorted(folder.iterdir()):
        if entry.name not in known:
            raise CompositeError(f"{entry} does not belong in a composite; only safetensors are loaded, remove it")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CompositeError(f"{path} cannot be read: {error.strerror}; assemble the composite again") from error
