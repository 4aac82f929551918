"""A composite's files and its identity, from a set, its recipe and its router: no time, no place no order in them."""

from pathlib import Path

from severable_coordinator.ports import ContractStore, ShardRecord
from severable_coordinator.shard_sets import ShardSet, parse_recipe
from severable_coordinator.uploads import shard_file
from severable_coordinator.vault_port import Files
from severable_diffusion.composite_directory import scheduler_bytes, write_composite
from severable_diffusion.recipe import Recipe
from severable_diffusion.router import JointRouter
from severable_trust.composite import CompositeContent, Member
from severable_trust.digest import Digest


def recipe_of(contracts: ContractStore, members: ShardSet) -> Recipe:
    """The recipe that a set's shards share."""
    return parse_recipe(contracts.recipe(members.recipe).body)


def weights_of(vault: Files, shard: ShardRecord) -> bytes:
    """A shard's model.safetensors, decrypted. NotFoundError, StorageError."""
    return vault.read(shard.party, shard_file(shard.id, "model.safetensors"))


def content_of(members: ShardSet, recipe: Recipe, router: Digest) -> CompositeContent:
    """What a composite is made of; its digest is known before a file of it is written.

    Args:
        members: the set.
        recipe: what its shards share.
        router: digest of the router's weights.
    """
    pairs = zip(members.shards, members.weights, strict=True)
    return CompositeContent(
        recipe=members.recipe,
        members=tuple(Member(shard=shard.id, weight=weight) for shard, weight in pairs),
        router=router,
        scheduler=Digest.of(scheduler_bytes(recipe)),
    )


def write_files(directory: Path, members: ShardSet, recipe: Recipe, vault: Files, router: JointRouter) -> None:
    """Write a composite's files, in plain and without a manifest, into a new directory."""
    pairs = zip(members.shards, members.weights, strict=True)
    write_composite(
        directory,
        recipe,
        {shard.id.hex: weights_of(vault, shard) for shard in members.shards},
        {shard.id.hex: weight for shard, weight in pairs},
        router,
    )
