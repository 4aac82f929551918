"""CompositeStore on SQL."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import composite
from severable_coordinator.ports import CompositeRecord
from severable_trust.digest import Digest


class SqlCompositeStore:
    """Composites in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, record: CompositeRecord) -> None:
        """See CompositeStore."""
        same = (composite.c.id == str(record.id)) & (composite.c.group == record.group)
        older = (composite.c.group == record.group) & (composite.c.state == "live")
        with self._database.write() as connection:
            connection.execute(delete(composite).where(same))
            connection.execute(update(composite).where(older).values(state="retired"))
            connection.execute(
                insert(composite).values(
                    id=str(record.id),
                    group=record.group,
                    manifest=record.manifest,
                    members=json.dumps([str(member) for member in record.members]),
                    router=str(record.router),
                    created=record.created.isoformat(),
                    state=record.state,
                )
            )

    def composites(self, state: str | None = "live") -> list[CompositeRecord]:
        """See CompositeStore."""
        query = select(composite).order_by(composite.c.number)
        if state is not None:
            query = query.where(composite.c.state == state)
        with self._database.read() as connection:
            return [_composite(row) for row in connection.execute(query)]

    def set_state(self, composite_id: Digest, group: str, state: str) -> None:
        """See CompositeStore."""
        same = (composite.c.id == str(composite_id)) & (composite.c.group == group)
        with self._database.write() as connection:
            connection.execute(update(composite).where(same).values(state=state))


def _composite(row: Row[Any]) -> CompositeRecord:
    return CompositeRecord(
        id=Digest.parse(row.id),
        group=row.group,
        manifest=row.manifest,
        members=tuple(Digest.parse(member) for member in json.loads(row.members)),
        router=Digest.parse(row.router),
        created=datetime.fromisoformat(row.created),
        state=row.state,
    )
