"""KeysBackupStore on SQL."""

import json
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.removal_tables import keys_backup
from severable_coordinator.custody import KeysBackup
from severable_coordinator.errors import NotFoundError
from severable_trust.digest import Digest


class SqlKeysBackupStore:
    """The notes of keys' backups in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, backup: KeysBackup) -> None:
        """See KeysBackupStore."""
        statement = upsert(keys_backup).values(
            id=str(backup.id),
            taken=backup.taken.isoformat(),
            data_keys=json.dumps(sorted(backup.data_keys)),
            destroyed="",
        )
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def backups(self) -> list[KeysBackup]:
        """See KeysBackupStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(keys_backup).order_by(keys_backup.c.taken, keys_backup.c.id)).all()
        return [
            KeysBackup(
                id=Digest.parse(row.id),
                taken=datetime.fromisoformat(row.taken),
                data_keys=frozenset(json.loads(row.data_keys)),
                destroyed=datetime.fromisoformat(row.destroyed) if row.destroyed else None,
            )
            for row in rows
        ]

    def note_destroyed(self, backup: Digest, at: datetime) -> None:
        """See KeysBackupStore."""
        statement = update(keys_backup).where(keys_backup.c.id == str(backup)).values(destroyed=at.isoformat())
        with self._database.write() as connection:
            changed = connection.execute(statement).rowcount
        if not changed:
            raise NotFoundError(f"no keys backup {backup} is noted; `keys-backups` lists them")
