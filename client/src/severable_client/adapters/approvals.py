"""The owner's decisions about recipes, in the home's database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_client.adapters.database import approvals, transaction
from severable_client.consent import Approval


class SqlApprovalStore:
    """Decisions by recipe.

    Args:
        engine: the home's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, approval: Approval) -> None:
        """Keep the decision, replacing an earlier one about the recipe."""
        values = {"granted": approval.granted, "by": approval.by, "at": approval.at.timestamp()}
        row = upsert(approvals).values(recipe=approval.recipe, **values)
        with transaction(self._engine) as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["recipe"], set_=values))

    def get(self, recipe: str) -> Approval | None:
        """Return the decision, or None."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(approvals).where(approvals.c.recipe == recipe)).one_or_none()
        return None if row is None else _approval(row)

    def all(self) -> tuple[Approval, ...]:
        """Return every decision, ordered by recipe."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(approvals).order_by(approvals.c.recipe)).all()
        return tuple(_approval(row) for row in rows)


def _approval(row: Row[Any]) -> Approval:
    return Approval(recipe=row.recipe, granted=row.granted, by=row.by, at=datetime.fromtimestamp(row.at, UTC))
