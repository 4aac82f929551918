"""The home's state.db: SQLite with a write-ahead log, its tables, and one transaction at a time.

Several processes share it (the daemon, the Flower executor, the worker, the command line), so every write is one short
transaction and a busy database is waited for.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy.exc import DBAPIError

from severable_client.errors import DiskFullError, StorageError

BUSY_TIMEOUT_S = 15.0

_metadata = MetaData()
contracts = Table(
    "contracts", _metadata,
    Column("id", String, primary_key=True), Column("state", String, nullable=False),
)  # fmt: skip
jobs = Table(
    "jobs", _metadata,
    Column("id", String, primary_key=True), Column("task", String, nullable=False),
    Column("nonce", String, nullable=False), Column("contract", String, nullable=False),
    Column("recipe", String, nullable=False), Column("sub_shard", Integer), Column("seed", Integer, nullable=False),
    Column("state", String, nullable=False), Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False), Column("detail", String, nullable=False),
    Column("attempts", Integer, nullable=False), Column("created", Float, nullable=False),
    Column("started", Float), Column("updated", Float, nullable=False),
)  # fmt: skip
approvals = Table(
    "approvals", _metadata,
    Column("recipe", String, primary_key=True), Column("granted", Boolean, nullable=False),
    Column("by", String, nullable=False), Column("at", Float, nullable=False),
)  # fmt: skip
journal_links = Table(
    "journal_links", _metadata,
    Column("number", Integer, primary_key=True), Column("previous", String, nullable=False),
    Column("hash", String, nullable=False), Column("at", Integer, nullable=False),
    Column("kind", String, nullable=False), Column("what", String, nullable=False),
    Column("subject", String, nullable=False), Column("bytes", Integer, nullable=False),
)  # fmt: skip


def open_database(path: Path) -> Engine:
    """Open the database, making what is missing.

    Raises:
        StorageError: SQLite cannot open or write it.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _pragmas)
    with _mapped(path):
        _metadata.create_all(engine)
        _complete(engine)
    return engine


def _complete(engine: Engine) -> None:
    """Add the column that homes of an earlier version lack; another process may be about to do the same."""
    with engine.connect() as connection:
        if _has_sub_shards(connection):
            return
        connection.rollback()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if not _has_sub_shards(connection):
            connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN sub_shard INTEGER")
        connection.commit()


def _has_sub_shards(connection: Connection) -> bool:
    return "sub_shard" in {row[1] for row in connection.exec_driver_sql("PRAGMA table_info(jobs)")}


def _pragmas(connection: Any, _record: object) -> None:
    # FULL: a job that was reported shipped must still be shipped after a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _mapped(path: object) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DiskFullError(f"{path}: the disk is full; free some space and run it again") from error
        raise StorageError(f"{path}: {error.orig}; check the disk's space and the file's permissions") from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose changes are kept if the block ends well.

    Raises:
        DiskFullError: no space is left.
        StorageError: SQLite refuses.
    """
    with _mapped(engine.url.database), engine.begin() as connection:
        yield connection
