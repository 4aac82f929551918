"""The stores' contract, in memory and on a file: what was put is found, laws of states hold, the log only grows."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import START, Owner, recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.adapters.sql.composites import SqlCompositeStore
from severable_coordinator.adapters.sql.contracts import SqlContractStore
from severable_coordinator.adapters.sql.database import Database
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
