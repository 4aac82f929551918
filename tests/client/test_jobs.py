from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from client.samples import NONCE, NOON, RECIPE, RECIPE_BYTES, Federation, tiny_recipe

from severable_client.adapters.memory import (
    MemoryApprovalStore,
    MemoryContractStore,
    MemoryJobStore,
    MemoryJournal,
    MemoryRecipeStore,
)
from severable_client.consent import STANDING_RULE, Consent, Rule
from severable_client.errors import ConsentError, JobStateError
from severable_client.jobs import JobDesk, describe, ensure_job, job_id, remaining_s
from severable_client.ports import ContractRecord, Job, JobReport, JobRequest, JobState, JournalKind
from severable_trust.contract import Action, ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import statement_id


def desk_with(
    federation: Federation,
    envelope: Envelope,
    state: ContractState = ContractState.ACTIVE,
    rule: Rule = Rule.CONTRACT,
) -> JobDesk:
    contracts, recipes = MemoryContractStore(), MemoryRecipeStore()
    contracts.put(ContractRecord(id=str(statement_id(envelope)), envelope=envelope.to_bytes(), state=state))
    recipes.put(RECIPE_BYTES)
    seeds, jobs = count(1), MemoryJobStore()
    consent = Consent(
        approvals=MemoryApprovalStore(), jobs=jobs, journal=MemoryJournal(), clock=lambda: NOON, rule=rule
    )
    return JobDesk(
        sides=federation.sides,
        contracts=contracts,
        recipes=recipes,
        jobs=jobs,
        consent=consent,
        clock=lambda: NOON,
        draw_seed=lambda: next(seeds),
    )


def request_for(envelope: Envelope, **changes: Any) -> JobRequest:
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


def test_the_first_use_of_a_recipe_waits_for_the_owner(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, rule=Rule.ASK)
    report = desk(request_for(envelope))
    assert report.state is JobState.UNAPPROVED
    assert f"severable-client approve {RECIPE.hex[:12]}" in report.detail
    assert desk.consent.settle() == ()
    (settled,) = desk.consent.decide(str(RECIPE), granted=True, by="ada")
    assert desk(request_for(envelope)).state is JobState.QUEUED
    assert settled.id == job_id(request_for(envelope))


def test_an_approved_recipe_is_not_asked_about_again_and_the_decision_is_journalled(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, rule=Rule.ASK)
    desk.consent.decide(str(RECIPE), granted=True, by="ada")
    assert desk(request_for(envelope)).state is JobState.QUEUED
    assert desk(request_for(envelope, nonce="6b" * 32)).state is JobState.QUEUED
    (entry,) = desk.consent.journal.all()
    assert (entry.what, entry.subject, entry.kind) == ("recipe approved by ada", str(RECIPE), JournalKind.DECIDED)
    (approval,) = desk.consent.approvals.all()
    assert (approval.recipe, approval.granted, approval.by, approval.at) == (str(RECIPE), True, "ada", NOON)


def test_a_changed_recipe_asks_again(federation: Federation) -> None:
    changed = tiny_recipe(max_steps=7)
    envelope = federation.signed(federation.contract(recipes=(RECIPE, Digest.of(changed))))
    desk = desk_with(federation, envelope, rule=Rule.ASK)
    desk.recipes.put(changed)
    desk.consent.decide(str(RECIPE), granted=True, by="ada")
    assert desk(request_for(envelope)).state is JobState.QUEUED
    assert desk(request_for(envelope, recipe=str(Digest.of(changed)))).state is JobState.UNAPPROVED


def test_a_refused_recipe_refuses_what_waited_and_what_comes(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, rule=Rule.ASK)
    desk(request_for(envelope))
    desk.consent.decide(str(RECIPE), granted=False, by="ada")
    assert desk(request_for(envelope)).state is JobState.REFUSED
    assert "the owner refused" in desk(request_for(envelope, nonce="6b" * 32)).detail
    assert len(desk.jobs.all()) == 1
    with pytest.raises(ConsentError, match="the owner refused"):
        desk.consent.require(str(RECIPE))


def test_a_refusal_stands_against_the_standing_rule(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, rule=Rule.CONTRACT)
    desk.consent.decide(str(RECIPE), granted=False, by="ada")
    assert desk(request_for(envelope)).state is JobState.REFUSED


def test_the_standing_rule_approves_by_the_contract_and_says_so(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, rule=Rule.CONTRACT)
    assert desk(request_for(envelope)).state is JobState.QUEUED
    (approval,) = desk.consent.approvals.all()
    assert approval.by == STANDING_RULE


def test_without_a_contract_no_standing_rule_approves_anything(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope, ContractState.SUSPENDED, rule=Rule.CONTRACT)
    assert desk(request_for(envelope)).state is JobState.REFUSED
    assert desk.consent.approvals.all() == ()


def test_what_is_not_decided_may_not_be_trained(federation: Federation) -> None:
    desk = desk_with(federation, federation.signed(), rule=Rule.ASK)
    with pytest.raises(ConsentError, match="waits for the owner's approval"):
        desk.consent.require(str(RECIPE))


def test_a_job_that_the_coordinator_wants_no_more_is_ended_once_and_a_final_one_stays(federation: Federation) -> None:
    envelope = federation.signed()
    desk = desk_with(federation, envelope)
    asked = request_for(envelope)
    assert desk.halt(asked).state is JobState.REFUSED  # none such: and none is added
    assert desk.jobs.all() == ()
    ensure_job(asked, desk)
    ended = desk.halt(asked)
    assert (ended.state, ended.detail) == (
        JobState.FAILED,
        "ended by the coordinator: its shard is not wanted any more",
    )
    assert desk.halt(asked) == ended
    with pytest.raises(JobStateError):  # what stops the worker at its next word
        desk.jobs.record(job_id(asked), JobReport(state=JobState.TRAINING), NOON)
    assert desk.halt(replace(asked, nonce="?")).state is JobState.REFUSED
