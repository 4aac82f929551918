"""Log on SQL: entries, complete subtree hashes, checkpoints, and the bodies that can be erased."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import body, checkpoint, cosignature, log_entry, log_node
from severable_coordinator.errors import NotFoundError, StorageError
from severable_trust import merkle
from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.statement import Kind

SignCheckpoint = Callable[[Checkpoint], str]


class SqlLog:
    """The log in the database. The checkpoint is signed and stored in the transaction that appends, never later."""

    def __init__(self, database: Database, origin: str, sign: SignCheckpoint) -> None:
        """Keep the log `origin` in a database; `sign` turns a checkpoint into a signed note."""
        self._database = database
        self._origin = origin
        self._sign = sign
        with database.write() as connection:
            self._refuse_a_shorter_log(connection)
            if connection.execute(select(checkpoint.c.size)).first() is None:
                self._sign_tree(connection, 0)

    def append(self, entries: Sequence[tuple[LogEntry, bytes]]) -> int:
        """See Log. An entry that is there already is not appended again."""
        with self._database.write() as connection:
            first = size = _size(connection)
            for entry, envelope in entries:
                known = select(log_entry.c.place).where(log_entry.c.statement == str(entry.statement))
                if connection.execute(known).first() is not None:
                    continue
                leaf = entry.leaf
                nodes = merkle.completed_nodes(_Nodes(connection), size, merkle.leaf_hash(leaf))
                connection.execute(
                    insert(log_node), [{"level": level, "place": index, "hash": value} for level, index, value in nodes]
                )
                row = {"place": size, "leaf": leaf, "kind": entry.kind.value, "statement": str(entry.statement)}
                connection.execute(insert(log_entry).values(row))
                keep = upsert(body).values(statement=str(entry.statement), envelope=envelope)
                connection.execute(keep.on_conflict_do_nothing())
                size += 1
            if size > first:
                self._sign_tree(connection, size)
        return first

    def checkpoint(self) -> tuple[Checkpoint, str]:
        """See Log."""
        with self._database.read() as connection:
            return self._newest(connection)

    def checkpoint_of(self, size: int) -> str:
        """See Log."""
        with self._database.read() as connection:
            return _cosigned_note(connection, size)

    def cosign(self, size: int, cosigner: str, line: str) -> None:
        """See Log."""
        values = {"size": size, "cosigner": cosigner, "line": line}
        keep = upsert(cosignature).values(values)
        with self._database.write() as connection:
            connection.execute(keep.on_conflict_do_update(index_elements=["size", "cosigner"], set_={"line": line}))

    def prove(self, entry: LogEntry) -> LogProof:
        """See Log."""
        with self._database.read() as connection:
            query = select(log_entry.c.place).where(log_entry.c.statement == str(entry.statement))
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NotFoundError(f"statement {entry.statement} is not in the log")
            size = _best_vouched(connection, row.place) or self._newest(connection)[0].size
            path = merkle.inclusion_proof(_Nodes(connection), row.place, size)
            return LogProof(index=row.place, hashes=path, checkpoint=_cosigned_note(connection, size))

    def consistency(self, since: int) -> tuple[str, tuple[bytes, ...]]:
        """See Log."""
        with self._database.read() as connection:
            newest, note = self._newest(connection)
            if not 0 < since < newest.size:
                return note, ()
            return note, merkle.consistency_proof(_Nodes(connection), since, newest.size)

    def entries(self) -> list[tuple[int, LogEntry, bool]]:
        """See Log."""
        query = select(log_entry, body.c.statement.label("held")).order_by(log_entry.c.place)
        query = query.outerjoin(body, body.c.statement == log_entry.c.statement)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [(row.place, LogEntry.parse(row.leaf), row.held is not None) for row in rows]

    def statements(self, kind: Kind) -> list[Digest]:
        """See Log."""
        query = select(log_entry.c.statement).where(log_entry.c.kind == kind.value).order_by(log_entry.c.place)
        with self._database.read() as connection:
            return [Digest.parse(row.statement) for row in connection.execute(query)]

    def body(self, statement: Digest) -> bytes:
        """See Log."""
        with self._database.read() as connection:
            row = connection.execute(select(body.c.envelope).where(body.c.statement == str(statement))).one_or_none()
        if row is None:
            raise NotFoundError(f"the body of statement {statement} is not held (erased, or never there)")
        return bytes(row.envelope)

    def erase_body(self, statement: Digest) -> None:
        """See Log."""
        with self._database.write() as connection:
            connection.execute(delete(body).where(body.c.statement == str(statement)))

    def _newest(self, connection: Connection) -> tuple[Checkpoint, str]:
        note = str(
            connection.execute(select(checkpoint.c.note).order_by(checkpoint.c.size.desc()).limit(1)).scalar_one()
        )
        return Checkpoint.parse(note.split("\n\n", maxsplit=1)[0] + "\n"), note

    def _sign_tree(self, connection: Connection, size: int) -> None:
        root = merkle.root(_Nodes(connection), size)
        note = self._sign(Checkpoint(origin=self._origin, size=size, root=root))
        connection.execute(insert(checkpoint).values(size=size, note=note))

    def _refuse_a_shorter_log(self, connection: Connection) -> None:
        signed = connection.execute(select(func.max(checkpoint.c.size))).scalar() or 0
        if (held := _size(connection)) < signed:
            raise StorageError(
                f"the log has {held} entries, but a checkpoint over {signed} was signed: an older database was put "
                "back; restore the newest one before anything is served"
            )


class _Nodes:
    """merkle.HashStore over one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, level: int, index: int) -> bytes:
        query = select(log_node.c.hash).where((log_node.c.level == level) & (log_node.c.place == index))
        return bytes(self._connection.execute(query).scalar_one())


def _best_vouched(connection: Connection, place: int) -> int | None:
    """The size of the checkpoint over an entry that most have cosigned, the newest of equals; None for none."""
    count = func.count()
    query = select(cosignature.c.size).where(cosignature.c.size > place).group_by(cosignature.c.size)
    return connection.execute(query.order_by(count.desc(), cosignature.c.size.desc()).limit(1)).scalar()


def _cosigned_note(connection: Connection, size: int) -> str:
    note: str | None = connection.execute(select(checkpoint.c.note).where(checkpoint.c.size == size)).scalar()
    if note is None:
        raise NotFoundError(f"the log has no checkpoint over {size} entries")
    lines = select(cosignature.c.line).where(cosignature.c.size == size).order_by(cosignature.c.cosigner)
    return note + "".join(connection.execute(lines).scalars())


def _size(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(log_entry)).scalar_one()
