"""UploadStore and ShardStore on SQL."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import shard, upload
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.ports import ShardRecord, ShardState, UploadRecord
from severable_trust.digest import Digest


class SqlUploadStore:
    """Uploads in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def open_upload(self, record: UploadRecord) -> UploadRecord:
        """See UploadStore."""
        with self._database.write() as connection:
            row = connection.execute(select(upload).where(upload.c.id == record.id)).one_or_none()
            if row is not None:
                return _upload(row)
            connection.execute(
                insert(upload).values(
                    id=record.id,
                    party=record.party,
                    task=record.task,
                    claim=record.claim,
                    state=record.state,
                    detail=record.detail,
                )
            )
        return record

    def upload(self, upload_id: str) -> UploadRecord:
        """See UploadStore."""
        with self._database.read() as connection:
            row = connection.execute(select(upload).where(upload.c.id == upload_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"no upload {upload_id!r}; open it first")
        return _upload(row)

    def open_of(self, task: str) -> list[UploadRecord]:
        """See UploadStore."""
        query = select(upload).where((upload.c.task == task) & (upload.c.state == "open"))
        with self._database.read() as connection:
            return [_upload(row) for row in connection.execute(query)]

    def settle(self, upload_id: str, state: str, detail: str) -> None:
        """See UploadStore. The claim is dropped: an admitted one lives with its shard, a refused one has no use."""
        with self._database.write() as connection:
            connection.execute(
                update(upload).where(upload.c.id == upload_id).values(state=state, detail=detail, claim=b"")
            )


class SqlShardStore:
    """Shards and tombstones in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, record: ShardRecord) -> None:
        """See ShardStore."""
        with self._database.write() as connection:
            row = connection.execute(select(shard.c.state).where(shard.c.id == str(record.id))).one_or_none()
            if row is not None and row.state == ShardState.ERASED:
                raise RefusedError(f"shard {record.id} was removed and does not come back; train a new one")
            if row is not None:
                raise ConflictError(f"shard {record.id} is admitted already")
            connection.execute(
                insert(shard).values(
                    id=str(record.id),
                    party=record.party,
                    contract=str(record.contract),
                    recipe=str(record.recipe),
                    claim=record.claim,
                    admitted=record.admitted.isoformat(),
                    state=record.state.value,
                )
            )

    def shard(self, shard_id: Digest) -> ShardRecord:
        """See ShardStore."""
        with self._database.read() as connection:
            row = connection.execute(select(shard).where(shard.c.id == str(shard_id))).one_or_none()
        if row is None:
            raise NotFoundError(f"no shard {shard_id}; `shards list` shows what was admitted")
        return _shard(row)

    def shards(self, state: ShardState | None = ShardState.LIVE, party: str | None = None) -> list[ShardRecord]:
        """See ShardStore."""
        query = select(shard).order_by(shard.c.id)
        if state is not None:
            query = query.where(shard.c.state == state.value)
        if party is not None:
            query = query.where(shard.c.party == party)
        with self._database.read() as connection:
            return [_shard(row) for row in connection.execute(query)]

    def withdraw(self, shard_ids: Iterable[Digest]) -> None:
        """See ShardStore."""
        with self._database.write() as connection:
            for shard_id in shard_ids:
                live = (shard.c.id == str(shard_id)) & (shard.c.state == ShardState.LIVE.value)
                connection.execute(update(shard).where(live).values(state=ShardState.WITHDRAWN.value))

    def set_state(self, shard_id: Digest, state: ShardState) -> None:
        """See ShardStore."""
        values: dict[str, object] = {"state": state.value}
        if state is ShardState.ERASED:
            values["claim"] = b""
        with self._database.write() as connection:
            connection.execute(update(shard).where(shard.c.id == str(shard_id)).values(values))


def _upload(row: Row[Any]) -> UploadRecord:
    return UploadRecord(id=row.id, party=row.party, task=row.task, claim=row.claim, state=row.state, detail=row.detail)


def _shard(row: Row[Any]) -> ShardRecord:
    return ShardRecord(
        id=Digest.parse(row.id),
        party=row.party,
        contract=Digest.parse(row.contract),
        recipe=Digest.parse(row.recipe),
        claim=row.claim,
        admitted=datetime.fromisoformat(row.admitted),
        state=ShardState(row.state),
    )
