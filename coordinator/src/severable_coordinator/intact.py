"""What is built from shards while one of them is removed: the removal did not see it, so its maker takes it back.

A removal withdraws its shards first and erases after; a maker writes first and looks after. Whichever comes later sees
what the other did.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from severable_coordinator.errors import ConflictError, StorageError
from severable_coordinator.ports import ShardState, ShardStore, Vault
from severable_coordinator.shard_sets import ShardSet, bank_file

_DISCARDED = "discarded-"


def require_intact(shards: ShardStore, vault: Vault, members: ShardSet) -> None:
    """Return if every member of a set is live still; erase what was derived from those that are not.

    That is the set's router with its key, and their banks, with a party's key that would seal nothing else.

    Raises:
        ConflictError: a member was removed meanwhile.
    """
    gone = [shard for shard in members.shards if shards.shard(shard.id).state is not ShardState.LIVE]
    if not gone:
        return
    vault.destroy_key(members.compartment)
    vault.unlink(members.compartment, "")
    for shard in gone:
        vault.unlink(shard.party, bank_file(shard.id))
        if not vault.names(shard.party):
            vault.destroy_key(shard.party)
    raise ConflictError(f"shard {gone[0].id} was removed while this was being built; do it again without it")


def copy_whole(source: Path, out: Path) -> None:
    """Copy a directory, all of it or nothing. ConflictError."""
    try:
        shutil.copytree(source, out)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise ConflictError(f"{source} cannot be copied to {out}; it may be withdrawn: see `remove --list`") from error


def discard_whole(work: Path, wanted: Callable[[], Iterable[Path]]) -> None:
    """Erase directories below `work`, and what was left of earlier ones: each is renamed first.

    So what is left of it is known for waste, should its unlinking be cut off anywhere.

    Args:
        work: the directory of the groups' directories.
        wanted: names the directories to erase, once earlier waste is gone.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        _erase_waste(work)
        for folder in wanted():
            folder.rename(folder.with_name(_DISCARDED + folder.name))
        _erase_waste(work)
    except OSError as error:
        raise StorageError(
            f"{work}: {error.filename} cannot be erased ({error.strerror}); see to the disk and do it again"
        ) from error


def _erase_waste(work: Path) -> None:
    for folder in sorted(work.glob(f"*/{_DISCARDED}*")):
        shutil.rmtree(folder)
