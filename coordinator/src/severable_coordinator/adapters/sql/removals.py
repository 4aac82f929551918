"""RemovalStore on SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.removal_tables import removal, removal_step, removal_trouble
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.ports import RemovalRecord, Trouble
from severable_trust.digest import Digest


class SqlRemovalStore:
    """Removals and their finished steps in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def open(self, record: RemovalRecord) -> RemovalRecord:
        """See RemovalStore."""
        with self._database.write() as connection:
            row = connection.execute(select(removal).where(removal.c.request == str(record.request))).one_or_none()
            if row is not None:
                return _removal(row)
            connection.execute(
                insert(removal).values(
                    request=str(record.request),
                    party=record.party,
                    contract=str(record.contract),
                    envelope=record.envelope,
                    acknowledgement=record.acknowledgement,
                    state=record.state,
                    bundle=record.bundle,
                    denial=record.denial,
                )
            )
        return record

    def removal(self, request: Digest) -> RemovalRecord:
        """See RemovalStore."""
        with self._database.read() as connection:
            row = connection.execute(select(removal).where(removal.c.request == str(request))).one_or_none()
        if row is None:
            raise NotFoundError(f"no removal was asked for by request {request}; `remove --list` shows all")
        return _removal(row)

    def removals(self) -> list[RemovalRecord]:
        """See RemovalStore."""
        with self._database.read() as connection:
            return [_removal(row) for row in connection.execute(select(removal).order_by(removal.c.number))]

    def finish_step(self, request: Digest, step: str, facts: bytes) -> None:
        """See RemovalStore."""
        statement = upsert(removal_step).values(request=str(request), step=step, facts=facts)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def steps(self, request: Digest) -> dict[str, bytes]:
        """See RemovalStore."""
        with self._database.read() as connection:
            wanted = select(removal_step).where(removal_step.c.request == str(request))
            rows = connection.execute(wanted.order_by(literal_column("rowid")))  # as they were finished
            return {row.step: row.facts for row in rows}

    def set_state(self, request: Digest, state: str, bundle: bytes = b"") -> None:
        """See RemovalStore."""
        with self._database.write() as connection:
            connection.execute(
                update(removal).where(removal.c.request == str(request)).values(state=state, bundle=bundle)
            )

    def deny(self, request: Digest, state: str, denial: bytes) -> None:
        """See RemovalStore."""
        mine = (removal.c.request == str(request), removal.c.state == "open")
        with self._database.write() as connection:
            if not connection.execute(update(removal).where(*mine).values(state=state, denial=denial)).rowcount:
                raise ConflictError(f"request {request} is not open any more; `removals` shows where it stands")

    def note_trouble(self, request: Digest, line: str, at: datetime) -> Trouble:
        """See RemovalStore."""
        wanted = removal_trouble.c.request == str(request)
        with self._database.write() as connection:
            row = connection.execute(select(removal_trouble).where(wanted)).one_or_none()
            trouble = Trouble(failures=1 if row is None else row.failures + 1, line=line, at=at)
            values = {"failures": trouble.failures, "line": line, "at": at.isoformat()}
            statement = upsert(removal_trouble).values(request=str(request), **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["request"], set_=values))
        return trouble

    def troubles(self) -> dict[Digest, Trouble]:
        """See RemovalStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(removal_trouble)).all()
        return {
            Digest.parse(row.request): Trouble(failures=row.failures, line=row.line, at=datetime.fromisoformat(row.at))
            for row in rows
        }

    def clear_trouble(self, request: Digest) -> None:
        """See RemovalStore."""
        with self._database.write() as connection:
            connection.execute(delete(removal_trouble).where(removal_trouble.c.request == str(request)))


def _removal(row: Row[Any]) -> RemovalRecord:
    return RemovalRecord(
        request=Digest.parse(row.request),
        party=row.party,
        contract=Digest.parse(row.contract),
        envelope=row.envelope,
        acknowledgement=row.acknowledgement,
        state=row.state,
        bundle=row.bundle,
        denial=row.denial,
    )
