"""The log in the database: it only grows, and everything in it is proved under the newest checkpoint."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.log import SqlLog
from severable_coordinator.errors import NotFoundError
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.merkle import leaf_hash, verify_inclusion
from severable_trust.note import LogSigner, open_checkpoint, sign_note
from severable_trust.statement import Kind

SIGNER = LogSigner.generate("test-log")


def open_log(database: Database) -> SqlLog:
    return SqlLog(database, "test-log", lambda checkpoint: sign_note(checkpoint.text, SIGNER))


def entry(word: str) -> tuple[LogEntry, bytes]:
    return LogEntry(
        kind=Kind.SHARD, statement=Digest.of(word.encode()), signers=(Digest.of(b"key").hex,)
    ), word.encode()


def test_the_log_grows_and_every_entry_is_proved_under_the_newest_checkpoint(database: Database) -> None:
    log = open_log(database)
    seen = [log.checkpoint()[0]]
    for number in range(1, 12):
        log.append([entry(f"{number}-{n}") for n in range(number % 3 + 1)])
        seen.append(log.checkpoint()[0])
        newest = open_checkpoint(log.checkpoint()[1], str(SIGNER.vkey))
        for _, logged, _ in log.entries():
            proof = log.prove(logged)
            verify_inclusion(proof.index, newest.size, leaf_hash(logged.leaf), proof.hashes, newest.root)
    assert [checkpoint.size for checkpoint in seen] == sorted({checkpoint.size for checkpoint in seen})


def test_an_entry_is_appended_once_and_its_body_can_be_erased(database: Database) -> None:
    log = open_log(database)
    log.append([entry("a"), entry("a"), entry("b")])
    assert [index for index, _, _ in log.entries()] == [0, 1]
    log.erase_body(Digest.of(b"a"))
    assert [held for _, _, held in log.entries()] == [False, True]
    with pytest.raises(NotFoundError):
        log.body(Digest.of(b"a"))
    log.prove(entry("a")[0])  # the digest stays provable


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log_entry",
        "UPDATE log_entry SET leaf = x'00'",
        "REPLACE INTO log_entry SELECT place, x'00', kind, statement FROM log_entry",
        "DELETE FROM log_node",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(database: Database, statement: str) -> None:
    open_log(database).append([entry("a")])
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text(statement))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), again=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_a_batch_gives_the_tree_that_one_by_one_gives(sizes: list[int], again: int) -> None:
    batched, single = open_log(Database(None)), open_log(Database(None))
    number = 0
    for size in sizes:
        batch = [entry(str(max(0, number + n - again))) for n in range(size)]  # some are there already
        number += size
        assert batched.append(batch) == single.append(batch[:1])
        for one in batch[1:]:
            single.append([one])
        assert batched.checkpoint()[0] == single.checkpoint()[0]
    assert batched.entries() == single.entries()
    for _, logged, _ in batched.entries():
        assert batched.prove(logged).hashes == single.prove(logged).hashes
    for since in range(batched.checkpoint()[0].size + 1):
        assert batched.consistency(since)[1] == single.consistency(since)[1]


def test_more_entries_than_one_query_takes_are_told_from_those_that_are_there(database: Database) -> None:
    log = open_log(database)
    log.append([entry(str(number)) for number in range(0, 1200, 2)])
    assert log.append([entry(str(number)) for number in range(1200)]) == 600
    assert log.checkpoint()[0].size == 1200


def test_a_transaction_that_fails_changes_nothing(database: Database) -> None:
    log = open_log(database)

    def failing() -> Iterator[tuple[LogEntry, bytes]]:
        yield entry("a")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        log.append(failing())
    assert log.entries() == []
    assert log.checkpoint()[0].size == 0
