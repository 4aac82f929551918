"""Erasing composites' directories so that what a crash leaves of one is known for waste."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from severable_coordinator.errors import StorageError

_DISCARDED = "discarded-"


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
