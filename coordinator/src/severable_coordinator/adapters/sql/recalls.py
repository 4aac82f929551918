"""RecallStore on SQL."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.removal_tables import export, recall, recipient
from severable_coordinator.errors import ConflictError
from severable_coordinator.recalls import Export, RecallRecord, Recipient
from severable_trust.digest import Digest
from severable_trust.keys import PublicKey
from severable_trust.recall import Artifact


class SqlRecallStore:
    """Recipients, exports and recalls in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def put_recipient(self, record: Recipient) -> None:
        """See RecallStore."""
        with self._database.write() as connection:
            row = connection.execute(select(recipient).where(recipient.c.id == record.id)).one_or_none()
            if row is None:
                connection.execute(insert(recipient).values(id=record.id, statement_key=record.key.pem))
            elif row.statement_key != record.key.pem:
                raise ConflictError(f"recipient {record.id} has another key on record; give it another name")

    def recipients(self) -> list[Recipient]:
        """See RecallStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(recipient).order_by(recipient.c.id))
            return [Recipient(id=row.id, key=PublicKey.from_pem(row.statement_key)) for row in rows]

    def add_export(self, record: Export) -> None:
        """See RecallStore."""
        with self._database.write() as connection:
            connection.execute(
                insert(export).values(
                    recipient=record.recipient,
                    artifact=record.artifact.value,
                    digest=str(record.digest),
                    group=record.group,
                    shards=json.dumps([str(shard) for shard in record.shards]),
                    at=record.at.isoformat(),
                )
            )

    def exports(self) -> list[Export]:
        """See RecallStore."""
        with self._database.read() as connection:
            return [_export(row) for row in connection.execute(select(export).order_by(export.c.number))]

    def add_recall(self, record: RecallRecord) -> RecallRecord:
        """See RecallStore."""
        said = record.said
        copy = {"recipient": said.recipient, "artifact": said.artifact.value, "recalled": str(said.recalled)}
        same = (recall.c.removal == str(record.removal)) & (recall.c.recipient == copy["recipient"])
        same &= (recall.c.artifact == copy["artifact"]) & (recall.c.recalled == copy["recalled"])
        with self._database.write() as connection:
            row = connection.execute(select(recall).where(same)).one_or_none()
            if row is not None:
                return _recall(row)
            connection.execute(
                insert(recall).values(
                    id=str(record.id), removal=str(record.removal), envelope=record.envelope, answer=b"", **copy
                )
            )
        return record

    def recalls(self, removal: Digest | None = None) -> list[RecallRecord]:
        """See RecallStore."""
        query = select(recall).order_by(recall.c.number)
        if removal is not None:
            query = query.where(recall.c.removal == str(removal))
        with self._database.read() as connection:
            return [_recall(row) for row in connection.execute(query)]

    def set_answer(self, recall_id: Digest, answer: bytes) -> None:
        """See RecallStore."""
        with self._database.write() as connection:
            connection.execute(update(recall).where(recall.c.id == str(recall_id)).values(answer=answer))


def _export(row: Row[Any]) -> Export:
    return Export(
        recipient=row.recipient,
        artifact=Artifact(row.artifact),
        digest=Digest.parse(row.digest),
        group=row.group,
        shards=tuple(Digest.parse(shard) for shard in json.loads(row.shards)),
        at=datetime.fromisoformat(row.at),
    )


def _recall(row: Row[Any]) -> RecallRecord:
    return RecallRecord(
        id=Digest.parse(row.id), removal=Digest.parse(row.removal), envelope=row.envelope, answer=row.answer
    )
