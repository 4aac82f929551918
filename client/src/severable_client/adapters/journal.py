"""The journal on disk: its chain in the database, and line by line in journal.jsonl, which any text tool reads.

An entry is in both, synced to the disk, before `note` returns; where either cannot be written nothing is noted, and so
nothing leaves. Several processes write: one lock file beside the journal lets them in one after the other.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, Row, insert, select

from severable_client.adapters.database import journal_links, transaction
from severable_client.adapters.files import storage, write_whole
from severable_client.errors import JournalError
from severable_client.journal import (
    Head,
    check_chain,
    head_of,
    line_of,
    link_after,
    parse_line,
    parse_lines,
    require_head,
    require_same,
)
from severable_client.ports import JournalEntry, JournalKind, Link

_TAIL_BYTES = 1 << 16  # far longer than a line
_MAX_BYTES = 1 << 28


class SqlJournal:
    """The journal of a home.

    Args:
        engine: the home's database.
        path: the file that has the same entries.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path

    def note(self, entry: JournalEntry) -> None:
        """Append to both.

        Raises:
            JournalError: the two do not end with the same entry; nothing was appended.
            StorageError: the disk.
        """
        with (
            _locked(self._path),
            storage(f"{self._path} cannot be written"),
            _appendable(self._path) as file,
            transaction(self._engine) as connection,
        ):
            before = self._caught_up(file, connection)
            link = link_after(entry, before)
            connection.execute(insert(journal_links).values(**_row(link)))
            file.write(line_of(link))
            file.flush()
            os.fsync(file.fileno())

    def all(self) -> tuple[JournalEntry, ...]:
        """Return every entry, oldest first."""
        return tuple(link.entry for link in self.links())

    def links(self) -> tuple[Link, ...]:
        """Return every entry with its place in the chain, as the database has them."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(journal_links).order_by(journal_links.c.number)).all()
        return tuple(_link(row) for row in rows)

    def verify(self, noted: Head | None = None) -> Head | None:
        """Return where the journal ends, after checking the file, the database, both together, and a noted head.

        Raises:
            JournalError: an entry was altered, removed, added, moved or cut off in either.
            StorageError: the file cannot be read.
        """
        with _locked(self._path):
            links = self.links()
            if links and not self._path.exists():
                raise JournalError(f"{self._path} is missing; see `severable-client journal restore`")
            file = read_journal(self._path) if self._path.exists() else ()
        check_chain(links, "the database")
        require_same(file, links, str(self._path))
        if noted is not None:
            require_head(links, noted, str(self._path))
        return head_of(links)

    def restore(self) -> Path | None:
        """Write the file anew from the database; returns where the one that was there is kept, if any was.

        Raises:
            JournalError: the database's own chain does not hold.
        """
        with _locked(self._path):
            links = self.links()
            check_chain(links, "the database")
            kept = self._set_aside()
            write_whole(self._path, b"".join(map(line_of, links)), mode=0o600)
        return kept

    def _set_aside(self) -> Path | None:
        if not self._path.exists():
            return None
        names = (self._path.with_name(f"{self._path.name}.refused-{number}") for number in range(1, 10_000))
        kept = next(name for name in names if not name.exists())
        with storage(f"{self._path} cannot be set aside"):
            return self._path.replace(kept)

    def _caught_up(self, file: BinaryIO, connection: Connection) -> Link | None:
        """Return the last link, once file and database both end with it.

        A process that was killed between the two writes leaves a line, or a part of one, that the database lacks: a
        part is dropped, a whole one is taken over.
        """
        row = connection.execute(select(journal_links).order_by(journal_links.c.number.desc()).limit(1)).one_or_none()
        last = None if row is None else _link(row)
        tail = _tail(file)
        if tail == (line_of(last)[:-1] if last else b""):
            return last
        try:
            ahead = parse_line(tail, f"the last line of {self._path}")
        except JournalError as error:
            raise JournalError(f"{error}; {_REMEDY}") from error
        if ahead != link_after(ahead.entry, last):
            raise JournalError(f"{self._path} does not end with the database's last entry; {_REMEDY}")
        connection.execute(insert(journal_links).values(**_row(ahead)))
        return ahead


_REMEDY = "nothing leaves this machine until `severable-client journal verify` holds; see `journal restore`"


def read_journal(path: Path) -> tuple[Link, ...]:
    """Return the proven chain in a journal.jsonl.

    Raises:
        JournalError: it is no whole chain.
        StorageError: it cannot be read.
    """
    with storage(f"{path} cannot be read"), path.open("rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise JournalError(f"{path} has more than {_MAX_BYTES >> 20} MiB; it is no journal of this program")
    return parse_lines(data, str(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with storage(f"{path.with_suffix('.lock')} cannot be opened"):
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _appendable(path: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        yield stream


def _tail(file: BinaryIO) -> bytes:
    """Return the last whole line without its line feed; a part of a line behind it is cut off the file."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - _TAIL_BYTES)
    file.seek(begin)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        file.truncate(begin + whole)
        file.seek(0, os.SEEK_END)
    return data[:whole].removesuffix(b"\n").rpartition(b"\n")[2]


def _row(link: Link) -> dict[str, Any]:
    entry = link.entry
    return {
        "number": link.number, "previous": link.previous, "hash": link.hash, "at": int(entry.at.timestamp()),
        "kind": entry.kind.value, "what": entry.what, "subject": entry.subject, "bytes": entry.bytes,
    }  # fmt: skip


def _link(row: Row[Any]) -> Link:
    try:
        kind, at = JournalKind(row.kind), datetime.fromtimestamp(row.at, UTC)
    except (ValueError, OverflowError, OSError, TypeError) as error:
        raise JournalError(f"the database: entry {row.number} was altered: {error}") from error
    entry = JournalEntry(at=at, what=row.what, subject=row.subject, bytes=row.bytes, kind=kind)
    return Link(number=row.number, previous=row.previous, entry=entry, hash=row.hash)
