"""ContractStore on SQL."""

import json
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import contract, recipe
from severable_coordinator.errors import NotFoundError
from severable_coordinator.ports import ContractRecord, RecipeRecord
from severable_trust.contract import ContractState
from severable_trust.digest import Digest


class SqlContractStore:
    """Contracts and recipes in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add_recipe(self, record: RecipeRecord) -> None:
        """See ContractStore."""
        tensors = {name: [dtype, list(shape)] for name, (dtype, shape) in record.tensors.items()}
        with self._database.write() as connection:
            known = connection.execute(select(recipe.c.digest).where(recipe.c.digest == str(record.digest))).first()
            if known is None:
                connection.execute(
                    insert(recipe).values(
                        digest=str(record.digest), body=record.body, config=record.config, tensors=json.dumps(tensors)
                    )
                )

    def recipe(self, digest: Digest) -> RecipeRecord:
        """See ContractStore."""
        with self._database.read() as connection:
            row = connection.execute(select(recipe).where(recipe.c.digest == str(digest))).one_or_none()
        if row is None:
            raise NotFoundError(f"no recipe {digest}; offer a contract with it first")
        return _recipe(row)

    def recipes(self) -> list[RecipeRecord]:
        """See ContractStore."""
        with self._database.read() as connection:
            return [_recipe(row) for row in connection.execute(select(recipe).order_by(recipe.c.digest))]

    def put(self, *records: ContractRecord) -> None:
        """See ContractStore."""
        with self._database.write() as connection:
            for record in records:
                changing = {"envelope": record.envelope, "state": record.state.value}
                statement = upsert(contract).values(id=str(record.id), party=record.party, **changing)
                connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changing))

    def contract(self, contract_id: Digest) -> ContractRecord:
        """See ContractStore."""
        with self._database.read() as connection:
            row = connection.execute(select(contract).where(contract.c.id == str(contract_id))).one_or_none()
        if row is None:
            raise NotFoundError(f"no contract {contract_id}; `contract list` shows what was offered")
        return _contract(row)

    def contracts(self, party: str | None = None) -> list[ContractRecord]:
        """See ContractStore."""
        query = select(contract).order_by(contract.c.number)
        if party is not None:
            query = query.where(contract.c.party == party)
        with self._database.read() as connection:
            return [_contract(row) for row in connection.execute(query)]


def _recipe(row: Row[Any]) -> RecipeRecord:
    tensors = {name: (dtype, tuple(shape)) for name, (dtype, shape) in json.loads(row.tensors).items()}
    return RecipeRecord(digest=Digest.parse(row.digest), body=row.body, config=row.config, tensors=tensors)


def _contract(row: Row[Any]) -> ContractRecord:
    return ContractRecord(
        id=Digest.parse(row.id), party=row.party, envelope=row.envelope, state=ContractState(row.state)
    )
