"""Whoever can write the coordinator's files, or runs two coordinators under one key: what the parties see of it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from coordinator.federation import World
from coordinator.served import TIMEOUT_S, Served, refused

from severable_coordinator.bootstrap import Coordinator
from severable_protos.v1 import exchange_pb2 as pb
from severable_trust.errors import TrustError
from severable_trust.merkle import node_hash
from severable_trust.statement import Kind
from severable_trust.witness import advance_view


def look(served: Served, note: str | None, since: int) -> tuple[str, int]:
    """What a party's daemon does at every look: fetch, check against its own last view, keep."""
    reply = served.stub("clinic").GetCheckpoint(pb.GetCheckpointRequest(since=since), timeout=TIMEOUT_S)
    vkey = served.world.coordinator.trust_root.log_vkey
    return reply.note, advance_view(note, reply.note, tuple(reply.consistency), vkey).size


def edit(world: World, *statements: str) -> None:
    """Somebody at the database file, who takes away the triggers first."""
    with closing(sqlite3.connect(world.coordinator.layout.database)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_an_older_roster_put_in_the_place_of_the_newest_revives_no_revoked_party(served: Served) -> None:
    """Both are well signed; but the log says which one is the newest."""
    world = served.world
    world.standing.revoke("archive")
    older, newest = world.coordinator.log.statements(Kind.ROSTER)[-2:]
    place = "(SELECT place FROM log_entry WHERE statement = x'%s')"
    edit(
        world,
        f"UPDATE body SET envelope = (SELECT envelope FROM body WHERE place = {place % older.hex}) "  # noqa: S608  # digests
        f"WHERE place = {place % newest.hex}",
    )
    error = refused(served.stub("archive").ListContracts, pb.ListContractsRequest())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "is not the one logged" in str(error.details())


Nodes = dict[tuple[int, int], bytes]


def a_leaf_altered(nodes: Nodes) -> None:
    nodes[0, 0] = bytes(32)


def two_leaves_swapped(nodes: Nodes) -> None:
    nodes[0, 0], nodes[0, 1] = nodes[0, 1], nodes[0, 0]


def rewrite(world: World, tamper: Callable[[Nodes], None]) -> None:
    """A thorough editor: the inner nodes over the altered leaves are computed anew."""
    edit(world)
    with closing(sqlite3.connect(world.coordinator.layout.database)) as connection:
        nodes = {(level, place): data for level, place, data in connection.execute("SELECT * FROM log_node")}
        tamper(nodes)
        for level, place in sorted(key for key in nodes if key[0]):
            nodes[level, place] = node_hash(nodes[level - 1, 2 * place], nodes[level - 1, 2 * place + 1])
        connection.executemany("REPLACE INTO log_node VALUES (?, ?, ?)", [(*key, data) for key, data in nodes.items()])
        connection.commit()


@pytest.mark.parametrize("tamper", [a_leaf_altered, two_leaves_swapped])
def test_a_log_edited_in_its_file_is_seen_by_every_party_that_looks(
    served: Served, tamper: Callable[[Nodes], None]
) -> None:
    for _ in range(3):
        served.world.coordinator.logbook.issue_roster()
    note, size = look(served, None, 0)
    rewrite(served.world, tamper)
    served.world.coordinator.logbook.issue_roster()
    with pytest.raises(TrustError, match="rewritten"):
        look(served, note, size)


def test_a_log_cut_off_together_with_its_checkpoint_is_seen_by_every_party_that_looks(served: Served) -> None:
    """Cut cleanly, with the checkpoint that gave it away, the coordinator itself starts; the parties remember."""
    world = served.world
    world.coordinator.logbook.issue_roster()
    note, size = look(served, None, 0)
    left = "(SELECT max(place) FROM log_entry)"
    edit(
        world,
        f"DELETE FROM checkpoint WHERE size > {left}",  # noqa: S608  # a constant
        f"DELETE FROM log_node WHERE (place + 1) << level > {left}",  # noqa: S608  # a constant
        f"DELETE FROM log_entry WHERE place = {left}",  # noqa: S608  # a constant
    )
    size_mark = world.coordinator.layout.log_mark
    size_mark.write_bytes(b"%d\n" % (size - 1))  # the mark beside the keys, too
    world.reopened().log.entries()  # nothing to object to
    with pytest.raises(TrustError, match="shrank"):
        look(served, note, size)


def forked(world: World, home: Path) -> Coordinator:
    """A second coordinator over a copy of everything, keys included."""
    world.coordinator.database.scrub()
    shutil.copytree(world.home, home)
    copy = replace(world.coordinator, layout=replace(world.coordinator.layout, home=home))
    copy.logbook.issue_roster()
    return copy


@pytest.mark.parametrize(
    ("more", "reason"),
    [(0, "shrank"), (1, "two different trees"), (2, "rewritten")],
    ids=["shorter", "as long", "longer"],
)
def test_two_logs_under_one_key_are_told_apart_by_a_party_that_has_seen_the_other(
    served: Served, tmp_path: Path, more: int, reason: str
) -> None:
    other = forked(served.world, tmp_path / "fork")
    vkey = served.world.coordinator.trust_root.log_vkey
    note = other.log.checkpoint()[1]
    size = advance_view(None, note, (), vkey).size
    for _ in range(more):
        served.world.clock.advance(seconds=30)
        served.world.coordinator.logbook.issue_roster()
    with pytest.raises(TrustError, match=reason):
        look(served, note, size)


Tamper = Callable[[str], str]


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda note: note.replace("federation", "elsewhere", 1), "elsewhere|not signed|known key|wrong"),
        (lambda note: note.partition("\n\n")[0] + "\n\n", "note|signature"),
        (lambda note: note[:-8] + "AAAA=\n\n", "note|signature|base64"),
    ],
    ids=["another log's name", "no signature", "a garbled one"],
)
def test_a_checkpoint_that_the_log_did_not_sign_is_not_taken(served: Served, tamper: Tamper, reason: str) -> None:
    shown, proof = served.world.coordinator.log.consistency(0)
    with pytest.raises(TrustError, match=reason):
        advance_view(None, tamper(shown), proof, served.world.coordinator.trust_root.log_vkey)
