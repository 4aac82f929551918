"""Custody of keys: which copies of data keys were made, so that a removal can say which of them still open something.

Data keys are in no backup of the coordinator. Whoever backs them up too (`backup --keys FILE`) makes a second copy of
what a removal destroys; it is noted here, and a removal's receipt names it until the operator notes its end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from severable_trust.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysBackup:
    """A copy of the coordinator's keys, somewhere out of its reach.

    Attributes:
        id: the digest of its file.
        taken: when (UTC, whole seconds).
        data_keys: ids of the data keys in it.
        destroyed: when the operator said that it is gone; None while it is not known to be.
    """

    id: Digest
    taken: datetime
    data_keys: frozenset[str]
    destroyed: datetime | None = None


class KeysBackupStore(Protocol):
    """The keys' backups that were made."""

    def add(self, backup: KeysBackup) -> None:
        """Note a backup; noting it twice changes nothing."""

    def backups(self) -> list[KeysBackup]:
        """Every one, by the time it was taken."""

    def note_destroyed(self, backup: Digest, at: datetime) -> None:
        """Note that a backup is gone. NotFoundError."""


def holding(backups: Iterable[KeysBackup], key: str) -> list[KeysBackup]:
    """Those that hold a data key and are not known to be destroyed; none for the key ""."""
    return [backup for backup in backups if key in backup.data_keys and backup.destroyed is None]
