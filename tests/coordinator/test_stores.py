"""The stores' contract, in memory and on a file: what was put is found, laws of states hold, the log only grows."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import START, Owner, recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.adapters.sql.composites import SqlCompositeStore
from severable_coordinator.adapters.sql.contracts import SqlContractStore
from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.log import SqlLog
from severable_coordinator.adapters.sql.notices import SqlNoticeStore
from severable_coordinator.adapters.sql.parties import SqlPartyStore
from severable_coordinator.adapters.sql.removals import SqlRemovalStore
from severable_coordinator.adapters.sql.shards import SqlShardStore, SqlUploadStore
from severable_coordinator.adapters.sql.tasks import SqlTaskStore
from severable_coordinator.dispatch import JobReport, JobState, Task
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError, StorageError
from severable_coordinator.membership import InviteRecord, PartyRecord
from severable_coordinator.notices import Address, Event, Notice
from severable_coordinator.ports import (
    CompositeRecord,
    ContractRecord,
    RemovalRecord,
    ShardRecord,
    ShardState,
    Trouble,
    UploadRecord,
)
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.merkle import leaf_hash, verify_inclusion
from severable_trust.note import LogSigner, open_checkpoint, sign_note
from severable_trust.statement import Kind


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(None if request.param == "memory" else tmp_path / "test.db")
    yield made
    made.close()


def digest(word: str) -> Digest:
    return Digest.of(word.encode())


def party(name: str) -> PartyRecord:
    owner = Owner.make(name)
    return PartyRecord(
        id=name, legal_name=name, statement_key=owner.signer.public_key, node_key=owner.node_key, status="active"
    )


def shard(word: str, name: str = "archive") -> ShardRecord:
    return ShardRecord(
        id=digest(word),
        party=name,
        contract=digest("contract"),
        recipe=digest("recipe"),
        claim=b"claim",
        admitted=START,
        state=ShardState.LIVE,
    )


def test_parties_are_found_by_id_and_listed_in_order(database: Database) -> None:
    store = SqlPartyStore(database)
    records = [party("clinic"), party("archive")]
    for record in records:
        store.add_party(record)
    assert store.parties() == sorted(records, key=lambda record: record.id)
    assert store.party("clinic") == records[0]
    with pytest.raises(NotFoundError):
        store.party("nobody")
    with pytest.raises(ConflictError):
        store.add_party(party("archive"))


def test_a_token_is_taken_once_also_when_it_has_expired(database: Database) -> None:
    store = SqlPartyStore(database)
    invite = InviteRecord(token_hash="hash", party="archive", expires=START)
    store.add_invite(invite)
    assert store.take_invite("hash") == invite
    with pytest.raises(RefusedError):
        store.take_invite("hash")


def test_contracts_keep_their_order_and_take_new_states(database: Database) -> None:
    store = SqlContractStore(database)
    for word in ("b", "a"):
        store.put(ContractRecord(id=digest(word), party=word, envelope=b"1", state=ContractState.OFFERED))
    store.put(ContractRecord(id=digest("b"), party="b", envelope=b"2", state=ContractState.ACTIVE))
    assert [(record.party, record.state.value) for record in store.contracts()] == [("b", "active"), ("a", "offered")]
    assert store.contract(digest("b")).envelope == b"2"
    assert [record.party for record in store.contracts("a")] == ["a"]


def test_a_recipe_is_kept_once_with_what_its_shards_must_look_like(database: Database) -> None:
    store, record = SqlContractStore(database), record_of(recipe())
    store.add_recipe(record)
    store.add_recipe(record)
    assert store.recipes() == [record]
    assert store.recipe(record.digest) == record


def test_an_upload_is_opened_once_and_settled(database: Database) -> None:
    store = SqlUploadStore(database)
    upload = UploadRecord(id="u", party="archive", task="t", claim=b"claim", state="open")
    assert store.open_upload(upload) == upload
    store.settle("u", "refused", "why")
    found = store.open_upload(upload)
    assert (found.state, found.detail, found.claim) == ("refused", "why", b"")


def test_an_erased_shard_leaves_a_tombstone_that_keeps_it_out(database: Database) -> None:
    store = SqlShardStore(database)
    store.add(shard("one"))
    with pytest.raises(ConflictError):
        store.add(shard("one"))
    store.set_state(digest("one"), ShardState.ERASED)
    assert store.shards() == []
    assert store.shard(digest("one")).claim == b""
    with pytest.raises(RefusedError, match="does not come back"):
        store.add(shard("one"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=4), unique=True, max_size=6))
def test_shards_come_in_the_order_of_their_ids_whatever_the_order_of_arrival(words: list[str]) -> None:
    store = SqlShardStore(Database(None))
    for word in words:
        store.add(shard(word))
    assert [record.id for record in store.shards()] == sorted(digest(word) for word in words)


def composite(word: str, group: str = "g") -> CompositeRecord:
    return CompositeRecord(
        id=digest(word),
        group=group,
        manifest=b"m",
        members=(digest("s"),),
        router=digest("r"),
        created=START,
        state="live",
    )


def test_a_group_has_one_live_composite(database: Database) -> None:
    store = SqlCompositeStore(database)
    for record in (composite("a"), composite("b"), composite("c", "other")):
        store.add(record)
    assert [(record.group, record.id) for record in store.composites()] == [("g", digest("b")), ("other", digest("c"))]
    store.add(composite("a"))  # the same content again
    assert [record.id for record in store.composites() if record.group == "g"] == [digest("a")]
    assert len(store.composites(None)) == 3


def test_a_removals_step_keeps_its_first_facts(database: Database) -> None:
    store = SqlRemovalStore(database)
    record = RemovalRecord(
        request=digest("q"), party="a", contract=digest("c"), envelope=b"e", acknowledgement=b"a", state="open"
    )
    assert store.open(record) == store.open(record) == record
    store.finish_step(record.request, "withdraw", b"1")
    store.finish_step(record.request, "withdraw", b"2")
    assert store.steps(record.request) == {"withdraw": b"1"}
    store.set_state(record.request, "fulfilled", b"bundle")
    assert store.removals()[0].bundle == b"bundle"


def test_a_removal_is_denied_while_it_is_open_alone(database: Database) -> None:
    store = SqlRemovalStore(database)
    record = RemovalRecord(
        request=digest("q"), party="a", contract=digest("c"), envelope=b"e", acknowledgement=b"a", state="open"
    )
    store.open(record)
    store.deny(record.request, "denied", b"denial")
    assert (store.removals()[0].state, store.removals()[0].denial, store.removals()[0].ended) == (
        "denied",
        b"denial",
        True,
    )
    with pytest.raises(ConflictError, match="not open any more"):
        store.deny(record.request, "expired", b"another")


def test_steps_are_listed_as_they_were_finished_and_failures_are_counted(database: Database) -> None:
    store = SqlRemovalStore(database)
    record = RemovalRecord(
        request=digest("q"), party="a", contract=digest("c"), envelope=b"e", acknowledgement=b"a", state="open"
    )
    store.open(record)
    for step in ("withdraw", "erase", "rebuild"):
        store.finish_step(record.request, step, b"{}")
    assert list(store.steps(record.request)) == ["withdraw", "erase", "rebuild"]
    store.note_trouble(record.request, "no space", START)
    assert store.note_trouble(record.request, "still none", START) == store.troubles()[record.request]
    assert store.troubles() == {record.request: Trouble(failures=2, line="still none", at=START)}
    store.clear_trouble(record.request)
    assert store.troubles() == {}


def test_a_notice_is_kept_once_and_settled(database: Database) -> None:
    store = SqlNoticeStore(database)
    address = Address(channel="email", target="a@b.example")
    notice = Notice(id="n", event=Event.EXIT, party="a", address=address, made=START, text="{}")
    store.add(notice)
    store.add(replace(notice, text='{"second": true}'))
    assert store.notices() == [notice]
    store.settle("n", "waiting", 1, "busy")
    assert store.notices() == [replace(notice, tries=1, detail="busy")]


def test_a_final_task_stays_final(database: Database) -> None:
    SqlPartyStore(database).add_party(party("archive"))
    store = SqlTaskStore(database)
    task = Task(id="t", batch="b", party="archive", node_key="k", contract="c", recipe="r", nonce="n")
    store.add(task)
    store.report("t", JobReport(state=JobState.TRAINING, step=3, steps=9))
    assert [open_task.id for open_task in store.open_tasks("b")] == ["t"]
    store.report("t", JobReport(state=JobState.SHIPPED))
    store.report("t", JobReport(state=JobState.TRAINING, step=4, steps=9))
    assert store.open_tasks("b") == []
    assert store.by_nonce("n").report.state is JobState.SHIPPED
    with pytest.raises(NotFoundError):
        store.by_nonce("unknown")


SIGNER = LogSigner.generate("test-log")


def open_log(database: Database) -> SqlLog:
    return SqlLog(database, "test-log", lambda checkpoint: sign_note(checkpoint.text, SIGNER))


def entry(word: str) -> tuple[LogEntry, bytes]:
    return LogEntry(kind=Kind.SHARD, statement=digest(word), signers=(digest("key").hex,)), word.encode()


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
    log.erase_body(digest("a"))
    assert [held for _, _, held in log.entries()] == [False, True]
    with pytest.raises(NotFoundError):
        log.body(digest("a"))
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


def test_a_database_of_another_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=1")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="made by another version"):
        Database(path)
    assert path.read_bytes() == before
