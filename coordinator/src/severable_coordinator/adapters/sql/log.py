"""Log on SQL: entries, complete subtree hashes, checkpoints, and the bodies that can be erased."""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.log_mark import LogMark
from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.log_nodes import Nodes, computed, nodes_for
from severable_coordinator.adapters.sql.log_tables import body, checkpoint, cosignature, log_entry
from severable_coordinator.errors import NotFoundError, StorageError
from severable_trust import merkle
from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.statement import Kind

_AT_ONCE = 500  # values in one query
_COSIGNATURES = 16  # kept of every cosigner, the newest ones: they cover every entry that earlier ones did
# As text, for the driver: handling a row, or a query of a proof, costs SQLAlchemy more than SQLite takes for it.
_ADD_NODE = "INSERT INTO log_node (level, place, hash) VALUES (?, ?, ?)"
_ADD_ENTRY = "INSERT INTO log_entry (place, leaf, kind, statement) VALUES (?, ?, ?, ?)"
_ADD_BODY = "INSERT INTO body (place, envelope) VALUES (?, ?)"
_PLACE = "SELECT place, (SELECT max(size) FROM checkpoint) FROM log_entry WHERE statement = ?"
_BEST_VOUCHED = "SELECT size FROM cosignature WHERE size > ? GROUP BY size ORDER BY count(*) DESC, size DESC LIMIT 1"
_NOTE = "SELECT note FROM checkpoint WHERE size = ?"
_LINES = "SELECT line FROM cosignature WHERE size = ? ORDER BY cosigner"
SignCheckpoint = Callable[[Checkpoint], str]


class SqlLog:
    """The log in the database. The checkpoint is signed and stored in the transaction that appends, never later."""

    def __init__(self, database: Database, origin: str, sign: SignCheckpoint, mark: LogMark | None = None) -> None:
        """Keep the log `origin` in a database; `sign` turns a checkpoint into a signed note.

        Raises:
            StorageError: the database holds fewer entries than were signed, or than `mark` remembers.
        """
        self._mark = mark
        self._database = database
        self._origin = origin
        self._sign = sign
        with database.write() as connection:
            self._refuse_a_shorter_log(connection)
            if connection.execute(select(checkpoint.c.size)).first() is None:
                self._sign_tree(connection, 0)

    def append(self, entries: Iterable[tuple[LogEntry, bytes]]) -> int:
        """See Log. An entry that is there already is not appended again."""
        named: dict[bytes, _Leaf] = {}
        for entry, envelope in entries:
            statement = _key(entry.statement)
            named.setdefault(statement, (statement, entry.kind.value, entry.leaf, envelope))
        leaves = list(named.values())
        with self._database.write() as connection:
            first = _size(connection)
            known = _known(connection, [statement for statement, *_ in leaves])
            leaves = [leaf for leaf in leaves if leaf[0] not in known]
            if leaves:
                _insert(connection, first, leaves)
                self._sign_tree(connection, first + len(leaves))
        if self._mark is not None:
            self._mark.raise_to(first + len(leaves))
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
        own = cosignature.c.cosigner == cosigner
        newest = select(cosignature.c.size).where(own).order_by(cosignature.c.size.desc()).limit(_COSIGNATURES)
        with self._database.write() as connection:
            connection.execute(keep.on_conflict_do_update(index_elements=["size", "cosigner"], set_={"line": line}))
            connection.execute(delete(cosignature).where(own & cosignature.c.size.not_in(newest)))

    def prove(self, entry: LogEntry) -> LogProof:
        """See Log."""
        with self._database.read() as connection:
            row = connection.exec_driver_sql(_PLACE, (_key(entry.statement),)).one_or_none()
            if row is None:
                raise NotFoundError(f"statement {entry.statement} is not in the log")
            place, newest = row
            size = _best_vouched(connection, place) or newest
            path = computed(connection, lambda store: merkle.inclusion_proof(store, place, size))
            return LogProof(index=place, hashes=path, checkpoint=_cosigned_note(connection, size))

    def consistency(self, since: int) -> tuple[str, tuple[bytes, ...]]:
        """See Log."""
        with self._database.read() as connection:
            newest, note = self._newest(connection)
            if not 0 < since < newest.size:
                return note, ()
            return note, computed(connection, lambda store: merkle.consistency_proof(store, since, newest.size))

    def entries(self) -> list[tuple[int, LogEntry, bool]]:
        """See Log."""
        query = select(log_entry, body.c.place.label("held")).order_by(log_entry.c.place)
        query = query.outerjoin(body, body.c.place == log_entry.c.place)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [(row.place, LogEntry.parse(row.leaf), row.held is not None) for row in rows]

    def statements(self, kind: Kind) -> list[Digest]:
        """See Log."""
        query = select(log_entry.c.statement).where(log_entry.c.kind == kind.value).order_by(log_entry.c.place)
        with self._database.read() as connection:
            return [Digest(row.statement.hex()) for row in connection.execute(query)]

    def body(self, statement: Digest) -> bytes:
        """See Log."""
        query = select(body.c.envelope).join(log_entry, body.c.place == log_entry.c.place)
        with self._database.read() as connection:
            row = connection.execute(query.where(log_entry.c.statement == _key(statement))).one_or_none()
        if row is None:
            raise NotFoundError(f"the body of statement {statement} is not held (erased, or never there)")
        return bytes(row.envelope)

    def erase_body(self, statement: Digest) -> None:
        """See Log."""
        place = select(log_entry.c.place).where(log_entry.c.statement == _key(statement))
        with self._database.write() as connection:
            connection.execute(delete(body).where(body.c.place == place.scalar_subquery()))

    def snapshot(self) -> tuple[str, list[tuple[LogEntry, bytes | None]]]:
        """See Log."""
        query = select(log_entry.c.leaf, body.c.envelope).order_by(log_entry.c.place)
        query = query.outerjoin(body, body.c.place == log_entry.c.place)
        with self._database.read() as connection:
            note = _cosigned_note(connection, self._newest(connection)[0].size)
            rows = connection.execute(query).all()
        return note, [(LogEntry.parse(row.leaf), row.envelope) for row in rows]

    def _newest(self, connection: Connection) -> tuple[Checkpoint, str]:
        note = str(
            connection.execute(select(checkpoint.c.note).order_by(checkpoint.c.size.desc()).limit(1)).scalar_one()
        )
        return Checkpoint.parse(note.split("\n\n", maxsplit=1)[0] + "\n"), note

    def _sign_tree(self, connection: Connection, size: int) -> None:
        root = computed(connection, lambda store: merkle.root(store, size))
        note = self._sign(Checkpoint(origin=self._origin, size=size, root=root))
        connection.execute(insert(checkpoint).values(size=size, note=note))

    def _refuse_a_shorter_log(self, connection: Connection) -> None:
        signed = connection.execute(select(func.max(checkpoint.c.size))).scalar() or 0
        signed = max(signed, self._mark.size() if self._mark else 0)
        if (held := connection.execute(select(func.count()).select_from(log_entry)).scalar_one()) < signed:
            raise StorageError(
                f"the log has {held} entries, but a checkpoint over {signed} was signed: an older database was put "
                "back; restore the newest one before anything is served"
            )


_Leaf = tuple[bytes, str, bytes, bytes]  # statement id, kind, entry, envelope


def _key(statement: Digest) -> bytes:
    return bytes.fromhex(statement.hex)


def _known(connection: Connection, statements: list[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for begin in range(0, len(statements), _AT_ONCE):
        some = statements[begin : begin + _AT_ONCE]
        found.update(connection.execute(select(log_entry.c.statement).where(log_entry.c.statement.in_(some))).scalars())
    return found


def _insert(connection: Connection, first: int, leaves: list[_Leaf]) -> None:
    """Append leaves that are not in the log yet: the subtrees they complete are computed in memory."""
    edge = nodes_for(connection, lambda store: merkle.root(store, first)) if first else {}
    grown = Nodes(edge)
    for place, (_, _, entry, _) in enumerate(leaves, first):
        for level, index, value in merkle.completed_nodes(grown, place, merkle.leaf_hash(entry)):
            grown.nodes[level, index] = value
    hashes = [(*at, value) for at, value in grown.nodes.items() if at not in edge]
    connection.exec_driver_sql(_ADD_NODE, hashes)
    entries = [(place, leaf[2], leaf[1], leaf[0]) for place, leaf in enumerate(leaves, first)]
    connection.exec_driver_sql(_ADD_ENTRY, entries)
    connection.exec_driver_sql(_ADD_BODY, [(place, leaf[3]) for place, leaf in enumerate(leaves, first)])


def _best_vouched(connection: Connection, place: int) -> int | None:
    """The size of the checkpoint over an entry that most have cosigned, the newest of equals; None for none."""
    size: int | None = connection.exec_driver_sql(_BEST_VOUCHED, (place,)).scalar()
    return size


def _cosigned_note(connection: Connection, size: int) -> str:
    note: str | None = connection.exec_driver_sql(_NOTE, (size,)).scalar()
    if note is None:
        raise NotFoundError(f"the log has no checkpoint over {size} entries")
    return note + "".join(connection.exec_driver_sql(_LINES, (size,)).scalars())


def _size(connection: Connection) -> int:
    newest = connection.execute(select(func.max(log_entry.c.place))).scalar()
    return 0 if newest is None else newest + 1
