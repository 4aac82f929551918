"""LedgerStore on SQL."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import ledger, ledger_total, shard
from severable_coordinator.ledger import LedgerLine, LedgerTotal
from severable_coordinator.ports import ShardState
from severable_trust.digest import Digest


class SqlLedgerStore:
    """Draws and totals in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, draw: Iterable[LedgerLine]) -> None:
        """See LedgerStore."""
        lines = list(draw)
        with self._database.write() as connection:
            number = connection.execute(select(func.coalesce(func.max(ledger.c.draw), 0) + 1)).scalar_one()
            for line in lines:
                connection.execute(insert(ledger).values(draw=number, **_values(line)))
            gone = select(shard.c.id).where(shard.c.state == ShardState.ERASED.value)
            late = select(ledger.c.shard).where(ledger.c.draw == number, ledger.c.shard.in_(gone))
            for erased in connection.execute(late).scalars().all():
                _settle(connection, erased)

    def lines(self, shards: Iterable[Digest] | None = None) -> list[LedgerLine]:
        """See LedgerStore."""
        query = select(ledger).order_by(ledger.c.number)
        if shards is not None:
            query = query.where(ledger.c.shard.in_([str(one) for one in shards]))
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(query)]

    def sums(self, group: str | None = None, since: datetime | None = None) -> list[LedgerTotal]:
        """See LedgerStore."""
        by_draw = select(
            ledger.c.party,
            ledger.c.contract,
            func.max(ledger.c.images).label("images"),
            func.sum(ledger.c.credit).label("credit"),
        ).group_by(ledger.c.party, ledger.c.contract, ledger.c.draw)
        if group is not None:
            by_draw = by_draw.where(ledger.c.group == group)
        if since is not None:
            by_draw = by_draw.where(ledger.c.drawn >= _text(since))
        draws = by_draw.subquery()
        query = (
            select(
                draws.c.party,
                draws.c.contract,
                func.sum(draws.c.images).label("images"),
                func.sum(draws.c.credit).label("credit"),
            )
            .group_by(draws.c.party, draws.c.contract)
            .order_by(draws.c.contract)
        )
        with self._database.read() as connection:
            return [_total(row) for row in connection.execute(query)]

    def totals(self) -> list[LedgerTotal]:
        """See LedgerStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(ledger_total).order_by(ledger_total.c.contract))
            return [_total(row) for row in rows]

    def erase(self, shards: Iterable[Digest]) -> int:
        """See LedgerStore."""
        with self._database.write() as connection:
            return sum(_settle(connection, str(one)) for one in shards)


def _settle(connection: Connection, erased: str) -> int:
    """Move one shard's lines into the total of its contract."""
    other = ledger.alias()
    shared = exists().where(
        other.c.draw == ledger.c.draw, other.c.contract == ledger.c.contract, other.c.shard != ledger.c.shard
    )
    rows = connection.execute(select(ledger, shared.label("shared")).where(ledger.c.shard == erased)).all()
    for row in rows:
        images = 0 if row.shared else row.images  # counted with the contract's last line of that draw
        statement = upsert(ledger_total).values(
            contract=row.contract, party=row.party, images=images, credit=row.credit
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[ledger_total.c.contract],
                set_={
                    "images": ledger_total.c.images + statement.excluded.images,
                    "credit": ledger_total.c.credit + statement.excluded.credit,
                },
            )
        )
    connection.execute(delete(ledger).where(ledger.c.shard == erased))
    return len(rows)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _values(line: LedgerLine) -> dict[str, object]:
    return {
        "composite": str(line.composite),
        "group": line.group,
        "shard": str(line.shard),
        "party": line.party,
        "contract": str(line.contract),
        "images": line.images,
        "credit": line.credit,
        "drawn": _text(line.drawn),
    }


def _line(row: Row[Any]) -> LedgerLine:
    return LedgerLine(
        composite=Digest.parse(row.composite),
        group=row.group,
        shard=Digest.parse(row.shard),
        party=row.party,
        contract=Digest.parse(row.contract),
        images=row.images,
        credit=row.credit,
        drawn=datetime.fromisoformat(row.drawn),
    )


def _total(row: Any) -> LedgerTotal:
    return LedgerTotal(party=row.party, contract=Digest.parse(row.contract), images=row.images, credit=row.credit)
