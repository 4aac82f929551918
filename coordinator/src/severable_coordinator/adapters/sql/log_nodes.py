"""The log's Merkle hashes in the database, fetched for a computation by one query."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection

from severable_trust import merkle

T = TypeVar("T")


class Nodes(merkle.HashStore):
    """Hashes of complete subtrees, in memory."""

    def __init__(self, nodes: dict[tuple[int, int], bytes]) -> None:
        """Begin with these, by level and place; what is added to `nodes` is found too."""
        self.nodes = dict(nodes)

    def get(self, level: int, index: int) -> bytes:
        """See HashStore."""
        return self.nodes[level, index]


class _Wanted(merkle.HashStore):
    """Notes which hashes a computation asks for; what it computes meanwhile means nothing."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []

    def get(self, level: int, index: int) -> bytes:
        self.places.append((level, index))
        return bytes(merkle.HASH_BYTES)


def nodes_for(connection: Connection, compute: Callable[[merkle.HashStore], object]) -> dict[tuple[int, int], bytes]:
    """Every hash that a computation will ask for, by one query."""
    wanted = _Wanted()
    compute(wanted)
    if not wanted.places:
        return {}
    values = tuple(number for place in wanted.places for number in place)
    rows = connection.exec_driver_sql(_lookup(len(wanted.places)), values)
    return {(level, place): value for level, place, value in rows}


@cache
def _lookup(count: int) -> str:
    """The query for so many hashes: a join, since SQLite does not look a list of pairs up in an index."""
    wanted = ", ".join(["(?, ?)"] * count)
    return (
        f"WITH wanted(l, p) AS (VALUES {wanted}) "  # noqa: S608  # placeholders, no values
        "SELECT level, place, hash FROM wanted CROSS JOIN log_node ON level = l AND place = p"
    )


def computed(connection: Connection, compute: Callable[[merkle.HashStore], T]) -> T:
    """What a computation over the log's hashes comes to."""
    return compute(Nodes(nodes_for(connection, compute)))
