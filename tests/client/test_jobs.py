from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from client.samples import NONCE, NOON, RECIPE, RECIPE_BYTES, Federation

from severable_client.adapters.memory import MemoryContractStore, MemoryJobStore, MemoryRecipeStore
from severable_client.jobs import JobDesk, describe, ensure_job, job_id, remaining_s
from severable_client.ports import ContractRecord, Job, JobReport, JobRequest, JobState
from severable_trust.contract import Action, ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import statement_id


def desk_with(federation: Federation, envelope: Envelope, state: ContractState = ContractState.ACTIVE) -> JobDesk:
    contracts, recipes = MemoryContractStore(), MemoryRecipeStore()
    contracts.put(ContractRecord(id=str(statement_id(envelope)), envelope=envelope.to_bytes(), state=state))
    recipes.put(RECIPE_BYTES)
    seeds = count(1)
    return JobDesk(
        sides=federation.sides,
        contracts=contracts,
        recipes=recipes,
        jobs=MemoryJobStore(),
        clock=lambda: NOON,
        draw_seed=lambda: next(seeds),
    )


def request_for(envelope: Envelope, **changes: str) -> JobRequest:
    asked = JobRequest(task="task-1", nonce=NONCE, contract=str(statement_id(envelope)), recipe=str(RECIPE))
    return replace(asked, **changes)


def test_a_permitted_request_is_queued(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope)

    assert ensure_job(request_for(envelope), desk).state is JobState.QUEUED
    (job,) = desk.jobs.all()
    assert job.id == job_id(request_for(envelope))
    assert job.seed == 1


def test_asking_twice_makes_one_job_and_tells_where_it_stands(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope)
    desk(request_for(envelope))
    desk.jobs.record(job_id(request_for(envelope)), JobReport(state=JobState.TRAINING, step=3, steps=9), NOON)

    again = desk(request_for(envelope, task="the same under another name"))

    assert (again.state, again.step, again.steps) == (JobState.TRAINING, 3, 9)
    assert len(desk.jobs.all()) == 1


def test_another_nonce_is_another_job(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope)
    desk(request_for(envelope))
    desk(request_for(envelope, nonce="6b" * 32))
    first, second = desk.jobs.all()
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ContractState.SUSPENDED, "suspended"),
        (ContractState.TERMINATED, "terminated"),
        (ContractState.OFFERED, "offered"),
    ],
)
def test_a_contract_that_is_not_in_force_refuses(federation: Federation, state: ContractState, word: str) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, state)
    report = desk(request_for(envelope))
    assert report.state is JobState.REFUSED
    assert word in report.detail
    assert desk.jobs.all() == ()


def test_a_contract_that_this_party_did_not_sign_refuses(federation: Federation) -> None:
    offer = federation.offer()
    report = desk_with(federation, offer)(request_for(offer))
    assert report.state is JobState.REFUSED
    assert "not signed by this party" in report.detail


def test_a_contract_signed_by_this_party_alone_refuses(federation: Federation) -> None:
    forged = replace(federation.signed())
    own_only = Envelope(
        forged.payload,
        forged.payload_type,
        tuple(s for s in forged.signatures if s.key_id == federation.owner.public_key.key_id),
    )
    report = desk_with(federation, own_only)(request_for(own_only))
    assert report.state is JobState.REFUSED
    assert "not signed by the coordinator" in report.detail


def test_a_contract_out_of_term_refuses(federation: Federation) -> None:
    envelope = federation.signed(federation.contract(begins=NOON + timedelta(days=1)))
    report = desk_with(federation, envelope)(request_for(envelope))
    assert report.state is JobState.REFUSED
    assert "out of term" in report.detail


def test_a_contract_without_permission_to_train_refuses(federation: Federation) -> None:
    envelope = federation.signed(federation.contract(permissions=(Action.COMPOSE,)))
    report = desk_with(federation, envelope)(request_for(envelope))
    assert report.state is JobState.REFUSED
    assert "permit" in report.detail


def test_a_recipe_outside_the_contract_refuses(federation: Federation) -> None:
    envelope = federation.signed()
    report = desk_with(federation, envelope)(request_for(envelope, recipe=str(Digest.of(b"other"))))
    assert report.state is JobState.REFUSED
    assert "recipe" in report.detail


def test_a_recipe_that_is_allowed_but_not_held_refuses(federation: Federation) -> None:
    elsewhere = Digest.of(b"a recipe nobody sent")
    envelope = federation.signed(federation.contract(recipes=(elsewhere,)))
    report = desk_with(federation, envelope)(request_for(envelope, recipe=str(elsewhere)))
    assert report.state is JobState.REFUSED
    assert "not held" in report.detail


def test_an_unknown_contract_refuses(federation: Federation) -> None:
    envelope = federation.signed()
    report = desk_with(federation, envelope)(request_for(envelope, contract=str(Digest.of(b"none"))))
    assert report.state is JobState.REFUSED
    assert "no such contract" in report.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "5A" * 32},
        {"nonce": "5a" * 31},
        {"contract": "sha256:../../etc"},
        {"recipe": ""},
        {"task": "x" * 101},
        {"task": "line\nbreak"},
    ],
)
def test_a_malformed_request_refuses(federation: Federation, changes: dict[str, str]) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope)
    assert desk(request_for(envelope, **changes)).state is JobState.REFUSED
    assert desk.jobs.all() == ()


def test_a_refusal_is_judged_afresh_once_the_contract_is_in_force(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, ContractState.SUSPENDED)
    assert desk(request_for(envelope)).state is JobState.REFUSED
    (record,) = desk.contracts.all()
    desk.contracts.put(replace(record, state=ContractState.ACTIVE))
    assert desk(request_for(envelope)).state is JobState.QUEUED


def test_remaining_time_follows_the_pace_so_far(federation: Federation) -> None:
    job = Job(
        id="ab" * 32,
        request=request_for(federation.signed()),
        seed=1,
        report=JobReport(state=JobState.TRAINING, step=10, steps=40, detail="loss 0.5"),
        created=NOON,
        started=NOON,
        updated=NOON + timedelta(seconds=20),
    )
    assert remaining_s(job, NOON + timedelta(seconds=25)) == pytest.approx(55)
    assert remaining_s(replace(job, started=None), NOON) is None
    assert describe(job, NOON + timedelta(seconds=25)) == (
        "job abababababab: training, step 10 of 40, about 55 s left (loss 0.5)"
    )
