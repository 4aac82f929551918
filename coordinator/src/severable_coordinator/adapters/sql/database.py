"""One database: its engine, its transactions, and SQLite's settings."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from severable_coordinator.adapters.sql import log_tables, removal_tables, tables
from severable_coordinator.errors import StorageError

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
    # A removed envelope must not stay in free pages; this build's default is not every build's.
    "PRAGMA secure_delete=ON",
    # Without it REPLACE INTO slips past triggers that guard append-only tables.
    "PRAGMA recursive_triggers=ON",
)
_APPEND_ONLY = ("log_entry", "log_node")
_LAYOUT = 5  # of the tables; PRAGMA user_version


class Database:
    """A SQLite database; `path=None` keeps it in memory, for tests and simulations.

    Several processes may hold one file: `up` and the operator's commands. Every writing transaction takes the write
    lock when it begins, so that nobody reads, decides, and finds the ground moved.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the database and create what is missing. StorageError when the file cannot be used."""
        self._path = path
        self._engine = _engine(path)
        try:
            with self.write() as connection:
                self._refuse_another_layout(connection)
                for part in (tables, removal_tables, log_tables):
                    part.metadata.create_all(connection)
                for table in _APPEND_ONLY:
                    for verb in ("UPDATE", "DELETE"):
                        connection.execute(text(_guard(table, verb)))
        except OperationalError as error:
            raise StorageError(f"{path}: not a usable database ({error.orig}); restore it from a backup") from error

    def _refuse_another_layout(self, connection: Connection) -> None:
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        made = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if made and found != _LAYOUT:
            raise StorageError(
                f"{self._path}: was made by another version (table layout {found}, this one reads {_LAYOUT}); "
                "use the version that made it"
            )
        connection.exec_driver_sql(f"PRAGMA user_version={_LAYOUT}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock; all of it or none of it."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise
                connection.exec_driver_sql("COMMIT")
        except OperationalError as error:
            if "full" in str(error.orig):
                raise StorageError(f"{self._path}: {_disk_full()}; nothing was changed") from error
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for reading."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def scrub(self) -> None:
        """Rewrite the file without its free pages and empty the write-ahead log, so that no page keeps erased bytes."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _engine(path: Path | None) -> Engine:
    if path is None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun here, in words, not by the driver's guess
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    return engine


def _guard(table: str, verb: str) -> str:
    return (
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _disk_full() -> str:
    return f"no space left on the disk (errno {errno.ENOSPC}); free some and try again"
