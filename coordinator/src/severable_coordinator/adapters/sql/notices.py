"""NoticeStore on SQL."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.removal_tables import notice
from severable_coordinator.notices import Address, Event, Notice


class SqlNoticeStore:
    """Notices in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, record: Notice) -> None:
        """See NoticeStore."""
        values = {
            "id": record.id,
            "event": record.event.value,
            "party": record.party,
            "channel": record.address.channel,
            "target": record.address.target,
            "made": record.made.isoformat(),
            "text": record.text,
            "statement": record.statement,
            "state": record.state,
            "tries": record.tries,
            "detail": record.detail,
        }
        with self._database.write() as connection:
            connection.execute(upsert(notice).values(**values).on_conflict_do_nothing())

    def notices(self) -> list[Notice]:
        """See NoticeStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(notice).order_by(notice.c.number)).all()
        return [
            Notice(
                id=row.id,
                event=Event(row.event),
                party=row.party,
                address=Address(channel=row.channel, target=row.target),
                made=datetime.fromisoformat(row.made),
                text=row.text,
                statement=row.statement,
                state=row.state,
                tries=row.tries,
                detail=row.detail,
            )
            for row in rows
        ]

    def settle(self, notice_id: str, state: str, tries: int, detail: str) -> None:
        """See NoticeStore."""
        values = {"state": state, "tries": tries, "detail": detail}
        with self._database.write() as connection:
            connection.execute(update(notice).where(notice.c.id == notice_id).values(**values))
