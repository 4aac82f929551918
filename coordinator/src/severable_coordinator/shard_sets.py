"""A set of shards that may be used together, and where what is derived from shards is kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from severable_coordinator.errors import ConflictError
from severable_coordinator.ports import ShardRecord
from severable_diffusion.recipe import Recipe
from severable_trust import canonical
from severable_trust.digest import Digest, FileDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSet:
    """The shards that an access group may hold together, by id, with their lambdas."""

    group: str
    recipe: Digest
    shards: tuple[ShardRecord, ...]
    weights: tuple[float, ...]

    @property
    def compartment(self) -> str:
        """Name of the vault compartment for what is derived from exactly this set."""
        return compartment_of(shard.id for shard in self.shards)

    def without(self, party: str) -> "ShardSet | None":
        """The set that a removal of a party leaves, with the others' lambdas as they are; None where it leaves none."""
        kept = [pair for pair in zip(self.shards, self.weights, strict=True) if pair[0].party != party]
        if not kept:
            return None
        return replace(self, shards=tuple(shard for shard, _ in kept), weights=tuple(weight for _, weight in kept))


def parse_recipe(body: bytes) -> Recipe:
    """The typed recipe in canonical JSON bytes. MalformedError, RecipeError."""
    value = canonical.decode(body, "recipe")
    if not isinstance(value, dict):
        raise ConflictError("a recipe is a JSON object")
    return Recipe.from_dict(value)


def compartment_of(shards: Iterable[Digest]) -> str:
    """Name of the vault compartment, with a key of its own, for the router of a set of shards.

    Lambdas play no part in a router, and the recipe is in each shard's id.
    """
    return f"set-{Digest.of(canonical.encode([str(shard) for shard in sorted(shards)])).hex[:32]}"


def read_members(data: bytes) -> list[str]:
    """The shard ids in the bytes of a compartment's members.json. MalformedError."""
    value = canonical.decode(data, "members.json")
    return [str(member) for member in value] if isinstance(value, list) else []


def bank_file(shard: Digest) -> str:
    """Where a shard's bank is kept in its party's vault."""
    return f"banks/{shard.hex}.safetensors"


def file_digests(directory: Path) -> Sequence[FileDigest]:
    """Every file below a directory with its size and SHA-256, by name."""
    found = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        data = path.read_bytes()
        name = path.relative_to(directory).as_posix()
        found.append(FileDigest(name=name, size=len(data), digest=Digest.of(data)))
    return found
