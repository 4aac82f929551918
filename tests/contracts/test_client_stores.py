"""The contract of the client's stores, which the ones in memory and the ones on disk both keep."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from severable_client.adapters.approvals import SqlApprovalStore
from severable_client.adapters.database import open_database
from severable_client.adapters.files import FolderRecipeStore
from severable_client.adapters.journal import SqlJournal
from severable_client.adapters.memory import (
    MemoryApprovalStore,
    MemoryContractStore,
    MemoryJobStore,
    MemoryJournal,
    MemoryRecipeStore,
)
from severable_client.adapters.sql import SqlContractStore, SqlJobStore
from severable_client.consent import Approval, ApprovalStore
from severable_client.errors import JobStateError
from severable_client.journal import BEGINNING, check_chain, link_after
from severable_client.ports import (
    ContractRecord,
    ContractStore,
    Job,
    JobReport,
    JobRequest,
    JobState,
    JobStore,
    Journal,
    JournalEntry,
    JournalKind,
    RecipeStore,
)
from severable_trust.contract import ContractState

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ID_A, ID_B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture(params=["memory", "sqlite"])
def contracts(request: pytest.FixtureRequest, tmp_path: Path) -> ContractStore:
    if request.param == "memory":
        return MemoryContractStore()
    return SqlContractStore(open_database(tmp_path / "state.db"), tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore()
    return SqlJobStore(open_database(tmp_path / "state.db"))


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    if request.param == "memory":
        return MemoryJournal()
    return SqlJournal(open_database(tmp_path / "state.db"), tmp_path / "journal.jsonl")


@pytest.fixture(params=["memory", "sqlite"])
def approvals(request: pytest.FixtureRequest, tmp_path: Path) -> ApprovalStore:
    if request.param == "memory":
        return MemoryApprovalStore()
    return SqlApprovalStore(open_database(tmp_path / "state.db"))


@pytest.fixture(params=["memory", "folder"])
def recipes(request: pytest.FixtureRequest, tmp_path: Path) -> RecipeStore:
    if request.param == "memory":
        return MemoryRecipeStore()
    return FolderRecipeStore(tmp_path)


def job(number: int = 1, minute: int = 0) -> Job:
    created = NOON + timedelta(minutes=minute)
    request = JobRequest(task="t", nonce="5a" * 32, contract=ID_A, recipe=ID_B)
    report = JobReport(state=JobState.QUEUED, detail="waiting")
    return Job(id=f"{number:064x}", request=request, seed=2**62 - 1, report=report, created=created, updated=created)


def record(contract_id: str, envelope: bytes, state: ContractState) -> ContractRecord:
    return ContractRecord(id=contract_id, envelope=envelope, state=state)


def test_a_contract_is_found_as_it_was_put_and_replaced_by_the_next(contracts: ContractStore) -> None:
    assert contracts.get(ID_A) is None
    contracts.put(record(ID_A, b"offer", ContractState.OFFERED))
    contracts.put(record(ID_A, b"signed", ContractState.ACTIVE))
    assert contracts.get(ID_A) == record(ID_A, b"signed", ContractState.ACTIVE)


def test_contracts_are_listed_by_id(contracts: ContractStore) -> None:
    for contract_id in (ID_B, ID_A):
        contracts.put(record(contract_id, b"x", ContractState.OFFERED))
    assert [kept.id for kept in contracts.all()] == [ID_A, ID_B]


def test_a_recipe_is_found_by_the_digest_of_its_bytes(recipes: RecipeStore) -> None:
    digest = recipes.put(b'{"name":"x"}')
    assert recipes.get(digest) == b'{"name":"x"}'
    assert recipes.get(ID_A) is None


def test_a_job_is_found_as_it_was_added(jobs: JobStore) -> None:
    assert jobs.add(job()) == job()
    assert jobs.get(job().id) == job()
    assert jobs.get("f" * 64) is None


def test_a_job_of_a_sub_shard_is_found_as_it_was_added(jobs: JobStore) -> None:
    part = replace(job(), request=replace(job().request, sub_shard=0))
    assert jobs.add(part) == part
    assert jobs.get(part.id) == part


def test_adding_a_known_job_returns_the_one_there(jobs: JobStore) -> None:
    jobs.add(job())
    jobs.record(job().id, JobReport(state=JobState.TRAINING, step=1, steps=2), NOON)
    kept = jobs.add(job())
    assert kept.report.state is JobState.TRAINING


def test_the_first_training_report_of_an_attempt_sets_when_it_started(jobs: JobStore) -> None:
    jobs.add(job())
    moments = [NOON + timedelta(seconds=second) for second in range(4)]
    assert jobs.attempt(job().id, moments[0]) == 1
    jobs.record(job().id, JobReport(state=JobState.TRAINING, step=1, steps=9), moments[1])
    jobs.record(job().id, JobReport(state=JobState.TRAINING, step=2, steps=9), moments[2])
    kept = jobs.get(job().id)
    assert kept is not None
    assert (kept.started, kept.updated, kept.report.step) == (moments[1], moments[2], 2)
    assert jobs.attempt(job().id, moments[3]) == 2
    again = jobs.get(job().id)
    assert again is not None
    assert (again.started, again.attempts) == (None, 2)


def test_a_training_that_is_taken_up_started_as_much_earlier_as_it_had_taken(jobs: JobStore) -> None:
    jobs.add(job())
    moments = [NOON + timedelta(seconds=second) for second in range(4)]
    jobs.record(job().id, JobReport(state=JobState.TRAINING, detail="reading"), moments[1])
    earlier = NOON - timedelta(hours=1)
    jobs.record(job().id, JobReport(state=JobState.TRAINING, step=5, steps=9), moments[2], since=earlier)
    jobs.record(job().id, JobReport(state=JobState.TRAINING, step=6, steps=9), moments[3])
    kept = jobs.get(job().id)
    assert kept is not None
    assert (kept.started, kept.updated, kept.report.step) == (earlier, moments[3], 6)


@pytest.mark.parametrize("final", [JobState.SHIPPED, JobState.FAILED, JobState.REFUSED])
def test_a_final_job_stays_as_it_is(jobs: JobStore, final: JobState) -> None:
    jobs.add(job())
    jobs.record(job().id, JobReport(state=final, detail="the end"), NOON)
    with pytest.raises(JobStateError, match=final.value):
        jobs.record(job().id, JobReport(state=JobState.TRAINING), NOON)
    with pytest.raises(JobStateError, match=final.value):
        jobs.attempt(job().id, NOON)
    kept = jobs.get(job().id)
    assert kept is not None
    assert kept.report == JobReport(state=final, detail="the end")


def test_an_unknown_job_takes_no_report(jobs: JobStore) -> None:
    with pytest.raises(JobStateError, match="unknown"):
        jobs.record("f" * 64, JobReport(state=JobState.TRAINING), NOON)
    with pytest.raises(JobStateError, match="unknown"):
        jobs.attempt("f" * 64, NOON)


def test_jobs_are_listed_oldest_first_and_unfinished_ones_apart(jobs: JobStore) -> None:
    for number, minute in ((1, 5), (2, 1), (3, 3)):
        jobs.add(job(number, minute))
    jobs.record(job(3).id, JobReport(state=JobState.SHIPPED), NOON)
    assert [kept.id for kept in jobs.all()] == [job(2).id, job(3).id, job(1).id]
    assert [kept.id for kept in jobs.unfinished()] == [job(2).id, job(1).id]


def test_the_journal_keeps_what_was_noted_in_order(journal: Journal) -> None:
    entries = tuple(JournalEntry(at=NOON, what=f"thing {n}", subject=ID_A, bytes=n) for n in range(3))
    for entry in entries:
        journal.note(entry)
    assert journal.all() == entries


def test_the_journal_chains_every_entry_to_the_one_before(journal: Journal) -> None:
    assert journal.links() == ()
    for number, kind in enumerate([JournalKind.SENT, JournalKind.DECIDED, JournalKind.SENT]):
        journal.note(JournalEntry(at=NOON, what="a thing", subject=ID_A, bytes=number, kind=kind))
    first, second, third = journal.links()
    assert first.previous == BEGINNING
    assert second == link_after(second.entry, first)
    assert third == link_after(third.entry, second)
    assert second.entry.kind is JournalKind.DECIDED
    check_chain([first, second, third], "it")


def test_a_decision_is_found_as_it_was_put_and_replaced_by_the_next(approvals: ApprovalStore) -> None:
    assert approvals.get(ID_A) is None
    first = Approval(recipe=ID_A, granted=True, by="ada", at=NOON)
    second = Approval(recipe=ID_A, granted=False, by="bob", at=NOON + timedelta(minutes=1))
    for decision in (first, second):
        approvals.put(decision)
        assert approvals.get(ID_A) == decision
    other = Approval(recipe=ID_B, granted=True, by="ada", at=NOON)
    approvals.put(other)
    assert approvals.all() == (second, other)


def test_a_start_that_was_ended_on_purpose_is_not_counted(jobs: JobStore) -> None:
    jobs.add(job())
    jobs.forgive(job().id, NOON)
    jobs.attempt(job().id, NOON)
    jobs.attempt(job().id, NOON)
    jobs.forgive(job().id, NOON)
    kept = jobs.get(job().id)
    assert kept is not None
    assert kept.attempts == 1
    with pytest.raises(JobStateError, match="unknown"):
        jobs.forgive("f" * 64, NOON)
