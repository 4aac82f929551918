"""The shards of one composite as a component that diffusers saves and loads.

On disk, one folder per shard beside an index:

    index.json                      the recipe, and every shard's `Member`, sorted by id
    <id>/config.json                the recipe's network, byte for byte
    <id>/model.safetensors          the shard's weights

Loading builds every network from the recipe in the index and refuses any file that is not listed here, so nothing but
safetensors is ever opened. Shapes: K shards, M rows, C, H, W.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from severable_diffusion import network
from severable_diffusion.diffusers_parts import ConfigMixin, ModelMixin
from severable_diffusion.errors import CompositeError, RecipeError
from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.recipe import Recipe
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from severable_diffusion.drive import Frame

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a composite knows of a shard beside its weights.

    Attributes:
        share: lambda, above 0; any common factor of all members.
        parametrization: what it predicts; None for the recipe's, in which predictions are mixed.
        label_counts: how many of its training images have each of the recipe's labels; None for the same share of each.
    """

    share: float
    parametrization: Parametrization | None = None
    label_counts: tuple[int, ...] | None = None

    @classmethod
    def of(cls, value: float | Member) -> Member:
        """Return a member; a number is a lambda."""
        return value if isinstance(value, Member) else cls(share=float(value))


def index_bytes(recipe: Recipe, members: Mapping[str, float | Member]) -> bytes:
    """Return the canonical `index.json` of a set of shards.

    Raises:
        CompositeError: if there is no shard, a lambda is not above 0, label counts do not fit the recipe, or two ids
            share a folder.
    """
    if not members:
        raise CompositeError("a composite needs at least one shard")
    known = {shard_id: Member.of(member) for shard_id, member in members.items()}
    for shard_id, member in known.items():
        if not 0.0 < member.share < float("inf"):
            raise CompositeError(f"lambda of shard {shard_id} is {member.share}; it must be above 0")
        counts = member.label_counts
        if counts is not None and (len(counts) != recipe.labels or min(counts) < 0 or sum(counts) < 1):
            raise CompositeError(
                f"label counts of shard {shard_id} must be one number of 0 or more for each of the recipe's "
                f"{recipe.labels} labels, and not all 0"
            )
    if len({folder_of(shard_id) for shard_id in known}) < len(known):
        raise CompositeError("two shard ids differ only in ':' and '-'; rename one")
    shards = [{"id": shard_id, **_plain(known[shard_id])} for shard_id in sorted(known)]
    return (json.dumps({"recipe": recipe.to_dict(), "shards": shards}, sort_keys=True, indent=2) + "\n").encode()


def _plain(member: Member) -> dict[str, Any]:
    values: dict[str, Any] = {"lambda": member.share}
    if member.parametrization is not None:
        values["parametrization"] = str(member.parametrization)
    if member.label_counts is not None:
        values["label_counts"] = list(member.label_counts)
    return values


class ShardSet(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """K networks of one recipe, with their lambdas, ordered by shard id.

    Args:
        recipe: what all shards share.
        networks: each shard's network, from `severable_diffusion.network.load`, by shard id.
        members: each shard's lambda, or all that is known of it, by shard id.

    Raises:
        CompositeError: if the ids of `networks` and `members` differ, or a member does not fit.
    """

    config_name = INDEX

    def __init__(
        self, recipe: Recipe, networks: Mapping[str, nn.Module], members: Mapping[str, float | Member]
    ) -> None:
        super().__init__()
        if networks.keys() != members.keys():
            raise CompositeError("every shard needs a lambda, and every lambda a shard")
        self.index = index_bytes(recipe, members)
        self.recipe = recipe
        self.schedule = NoiseSchedule.of(recipe.process)
        self.source = Parametrization(recipe.parametrization)
        self.shard_ids = tuple(sorted(members))
        self.members = {shard_id: Member.of(members[shard_id]) for shard_id in self.shard_ids}
        self.networks = nn.ModuleList([networks[shard_id] for shard_id in self.shard_ids])

    @property
    def log_lambda_K(self) -> torch.Tensor:
        """Log lambda of every shard."""
        shares = [self.members[shard_id].share for shard_id in self.shard_ids]
        return torch.tensor(shares, device=self.device).log()

    @property
    def log_share_KC(self) -> torch.Tensor:
        """Log p(c | i) of every shard and label, and 0 for "no label": -inf where a shard never saw a label."""
        rows = [self.members[shard_id].label_counts or (1,) * self.recipe.labels for shard_id in self.shard_ids]
        share_KC = torch.tensor(rows, dtype=torch.float64, device=self.device)
        share_KC = share_KC / share_KC.sum(dim=1, keepdim=True)
        return torch.cat([share_KC.log(), share_KC.new_zeros(len(rows), 1)], dim=1).float()

    def predict(self, k: int, x_t_MCHW: torch.Tensor, frame: Frame, label_M: torch.Tensor | None) -> torch.Tensor:
        """Return shard k's prediction in the recipe's parametrization, in which predictions are mixed."""
        said_MCHW = network.predict(self.networks[k], x_t_MCHW, frame.time, label_M)
        own = self.members[self.shard_ids[k]].parametrization or self.source
        alpha, sigma = x_t_MCHW.new_tensor(frame.net_alpha), x_t_MCHW.new_tensor(frame.net_sigma)
        return convert(said_MCHW, own, self.source, x_t_MCHW, alpha=alpha, sigma=sigma)

    def save_pretrained(self, save_directory: str | Path, **_options: Any) -> None:
        """Write the folder described above; diffusers' options for other formats do not apply."""
        shards = {
            shard_id: network.dump(module.float().state_dict())
            for shard_id, module in zip(self.shard_ids, self.networks, strict=True)
        }
        write_shards(Path(save_directory), self.recipe, shards, self.members)

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
        recipe, members = _read_index(directory / INDEX)
        _refuse_strays(directory, {INDEX, *(folder_of(shard_id) for shard_id in members)})
        networks = {shard_id: _read_shard(directory / folder_of(shard_id), recipe) for shard_id in members}
        shards: ShardSet = cls(recipe, networks, members).eval()
        if torch_dtype is not None:
            shards.to(dtype=torch_dtype)
        return shards


def write_shards(
    directory: Path, recipe: Recipe, shards: Mapping[str, bytes], members: Mapping[str, float | Member]
) -> None:
    """Write the folder described above from the shards' `model.safetensors` bytes, unchanged."""
    index = index_bytes(recipe, members)
    directory.mkdir(parents=True, exist_ok=True)
    for shard_id, data in shards.items():
        folder = directory / folder_of(shard_id)
        folder.mkdir(exist_ok=True)
        (folder / CONFIG).write_bytes(network.config_bytes(recipe))
        (folder / WEIGHTS).write_bytes(data)
    (directory / INDEX).write_bytes(index)


def _read_index(path: Path) -> tuple[Recipe, dict[str, Member]]:
    data = _read(path)
    try:
        index = json.loads(data)
        recipe = Recipe.from_dict(index["recipe"])
        members = {str(shard["id"]): _member(shard) for shard in index["shards"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
        raise CompositeError(f"{path} is not a composite's index: {error}; assemble the composite again") from error
    if index_bytes(recipe, members) != data:
        raise CompositeError(f"{path} is not in canonical form; assemble the composite again")
    return recipe, members


def _member(values: Mapping[str, Any]) -> Member:
    kind, counts = values.get("parametrization"), values.get("label_counts")
    return Member(
        share=float(values["lambda"]),
        parametrization=None if kind is None else Parametrization(kind),
        label_counts=None if counts is None else tuple(int(count) for count in counts),
    )


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
