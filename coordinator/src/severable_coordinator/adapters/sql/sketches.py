"""SketchStore on SQL."""

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as upsert

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.removal_tables import weight_sketch
from severable_coordinator.weight_sketch import WeightSketch
from severable_trust.digest import Digest


class SqlSketchStore:
    """Sketches in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def keep(self, shard_id: Digest, sketch: WeightSketch) -> None:
        """See SketchStore."""
        values = {"key": sketch.key, "bits": sketch.bits}
        statement = upsert(weight_sketch).values(shard=str(shard_id), **values)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["shard"], set_=values))

    def sketches(self) -> dict[Digest, WeightSketch]:
        """See SketchStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(weight_sketch)).all()
        return {Digest.parse(row.shard): WeightSketch(row.key, row.bits) for row in rows}
