"""Contracts at the coordinator: who may sign what, and what is in force when."""

from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet, terms

from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_trust.bundle import verify_receipt
from severable_trust.contract import Action, ContractState
from severable_trust.envelope import Envelope
from severable_trust.errors import ContractError, SignatureError
from severable_trust.statement import statement_id


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.join("archive")
    made.join("clinic")
    return made


def test_an_offer_is_not_in_force_until_both_have_signed(world: World) -> None:
    offered = world.coordinator.contracting.offer("archive", world.recipe, terms())
    assert world.coordinator.contracting.in_force(Action.TRAIN) == []
    signed = offered.countersigned(world.owners["archive"].signer)
    assert world.coordinator.contracting.accept("archive", signed) is ContractState.ACTIVE
    assert [record.id for record, _ in world.coordinator.contracting.in_force(Action.TRAIN)] == [statement_id(offered)]


def test_an_offer_that_came_back_unsigned_is_refused(world: World) -> None:
    offered = world.coordinator.contracting.offer("archive", world.recipe, terms())
    with pytest.raises(SignatureError):
        world.coordinator.contracting.accept("archive", offered)


def test_an_offer_signed_by_another_party_is_refused(world: World) -> None:
    offered = world.coordinator.contracting.offer("archive", world.recipe, terms())
    with pytest.raises(SignatureError):
        world.coordinator.contracting.accept("archive", offered.countersigned(world.owners["clinic"].signer))
    with pytest.raises(RefusedError, match="not yours"):
        world.coordinator.contracting.accept("clinic", offered.countersigned(world.owners["clinic"].signer))


def test_a_contract_is_in_force_up_to_but_not_at_its_end(world: World) -> None:
    world.agree("archive", days=1)
    world.clock.advance(days=1, seconds=-1)
    assert world.coordinator.contracting.in_force(Action.TRAIN)
    world.clock.advance(seconds=1)
    assert world.coordinator.contracting.in_force(Action.TRAIN) == []


def test_what_a_contract_does_not_permit_is_not_in_force(world: World) -> None:
    world.agree("archive", permissions=(Action.TRAIN,))
    assert world.coordinator.contracting.in_force(Action.TRAIN)
    assert world.coordinator.contracting.in_force(Action.COMPOSE) == []


def test_a_second_offer_while_one_is_open_is_refused(world: World) -> None:
    world.coordinator.contracting.offer("archive", world.recipe, terms())
    with pytest.raises(ConflictError, match="end it before a new offer"):
        world.coordinator.contracting.offer("archive", world.recipe, terms())


def test_an_offer_to_a_stranger_names_the_command_that_lists_parties(world: World) -> None:
    with pytest.raises(NotFoundError, match="party list"):
        world.coordinator.contracting.offer("nobody", world.recipe, terms())


def test_a_suspended_contract_permits_nothing_until_it_is_resumed(world: World) -> None:
    record = world.coordinator.contracts.contract(world.agree("archive"))
    world.coordinator.contracting.suspend(record)
    assert [action for action in Action if world.coordinator.contracting.in_force(action)] == []
    with pytest.raises(ConflictError, match="suspended"):
        world.coordinator.contracting.offer("archive", world.recipe, terms())
    suspended = world.coordinator.contracts.contract(record.id)
    world.coordinator.contracting.resume(suspended)
    assert all(world.coordinator.contracting.in_force(action) for action in Action)


def test_what_is_not_in_force_is_not_suspended_and_what_is_not_suspended_not_resumed(world: World) -> None:
    offered = world.coordinator.contracting.offer("archive", world.recipe, terms())
    record = world.coordinator.contracts.contract(statement_id(offered))
    with pytest.raises(ContractError, match="offered cannot suspend"):
        world.coordinator.contracting.suspend(record)
    with pytest.raises(ContractError, match="offered cannot resume"):
        world.coordinator.contracting.resume(record)


def test_a_suspended_contract_is_not_resumed_after_its_term_or_for_a_revoked_party(world: World) -> None:
    archive = world.coordinator.contracts.contract(world.agree("archive"))
    clinic = world.coordinator.contracts.contract(world.agree("clinic", days=1))
    for record in (archive, clinic):
        world.coordinator.contracting.suspend(record)
    world.clock.advance(days=1)
    world.standing.revoke("archive")
    with pytest.raises(ConflictError, match="revoked"):
        world.coordinator.contracting.resume(world.coordinator.contracts.contract(archive.id))
    with pytest.raises(ConflictError, match="term of contract"):
        world.coordinator.contracting.resume(world.coordinator.contracts.contract(clinic.id))


def test_a_suspended_contract_can_still_be_ended_by_its_party(world: World) -> None:
    contract = world.agree("archive")
    shard = world.ship("archive")
    world.coordinator.contracting.suspend(world.coordinator.contracts.contract(contract))
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    assert world.coordinator.contracts.contract(contract).state is ContractState.TERMINATED
    world.coordinator.removal.run(record, quiet)
    assert shard not in [one.id for one in world.coordinator.shards.shards()]


def test_training_is_asked_of_parties_in_force_only_and_once(world: World) -> None:
    with pytest.raises(ConflictError, match="nobody to train"):
        world.coordinator.training.open_batch(world.recipe.digest, frozenset())
    world.agree("archive")
    _, tasks = world.coordinator.training.open_batch(world.recipe.digest, frozenset())
    assert [task.party for task in tasks] == ["archive"]
    world.ship("archive")
    with pytest.raises(ConflictError, match="nobody to train"):
        world.coordinator.training.open_batch(world.recipe.digest, frozenset())


def test_a_batch_that_was_left_open_is_gone_on_with_under_the_same_nonces(world: World) -> None:
    world.agree("archive")
    first = world.coordinator.training.open_batch(world.recipe.digest, frozenset())
    assert world.reopened().training.open_batch(world.recipe.digest, frozenset()) == first


def test_notice_postpones_a_removal(world: World) -> None:
    contract = world.agree("archive", notice_days=30)
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    assert (world.coordinator.requests.due(record) - world.clock()).days == 30


def amend(world: World, name: str, **changes: object) -> Envelope:
    """An amendment of the party's contract in force, on offer."""
    (record,) = [r for r in world.coordinator.contracts.contracts(name) if r.state is ContractState.ACTIVE]
    return world.coordinator.contracting.offer(name, world.recipe, terms(**changes), amends=record.id)


def sign(world: World, name: str, offered: Envelope) -> ContractState:
    return world.coordinator.contracting.accept(name, offered.countersigned(world.owners[name].signer))


def states(world: World, name: str) -> list[str]:
    return [record.state.value for record in world.coordinator.contracts.contracts(name)]


def test_an_amendment_takes_the_place_of_the_version_before_when_the_party_signs(world: World) -> None:
    first = world.agree("archive")
    offered = amend(world, "archive", permissions=(Action.TRAIN,))
    assert states(world, "archive") == ["active", "offered"]
    assert world.coordinator.contracting.in_force(Action.COMPOSE)
    assert sign(world, "archive", offered) is ContractState.ACTIVE
    assert states(world, "archive") == ["superseded", "active"]
    assert world.coordinator.contracting.in_force(Action.COMPOSE) == []
    assert world.coordinator.contracting.governing(first).id == statement_id(offered)
    assert world.coordinator.contracting.versions(statement_id(offered)) == [statement_id(offered), first]


def test_a_shard_of_an_earlier_version_is_composed_as_the_version_in_force_says(world: World) -> None:
    world.agree("archive")
    world.ship("archive")
    sign(world, "archive", amend(world, "archive", weight=3.0, recipients=(GROUP, "press")))
    members = world.coordinator.building.members("press")
    assert (len(members.shards), members.weights) == (1, (3.0,))
    with pytest.raises(ConflictError, match="nobody to train"):
        world.coordinator.training.open_batch(world.recipe.digest, frozenset())
    sign(world, "archive", amend(world, "archive", recipients=("press",)))
    with pytest.raises(ConflictError, match="no live shard"):
        world.coordinator.building.members(GROUP)


def test_a_removal_under_an_amended_contract_takes_the_shards_of_every_version(world: World) -> None:
    world.agree("archive")
    shard = world.ship("archive")
    sign(world, "archive", amend(world, "archive", notice_days=0, weight=2.0))
    current = world.coordinator.contracts.contracts("archive")[-1].id
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", current))
    bundle = world.coordinator.removal.run(record, quiet).bundle
    assert verify_receipt(bundle, world.coordinator.trust_root).receipt.value.subjects == (shard,)


def test_one_amendment_is_open_at_a_time_and_only_of_what_is_in_force_and_the_partys(world: World) -> None:
    first = world.agree("archive")
    others = world.agree("clinic")
    amend(world, "archive")
    with pytest.raises(ConflictError, match="end it before a new offer"):
        amend(world, "archive")
    with pytest.raises(ConflictError, match="only one in force is amended"):
        world.coordinator.contracting.offer("archive", world.recipe, terms(), amends=others)
    sign(world, "archive", world_offer(world, "archive"))
    with pytest.raises(ConflictError, match="only one in force is amended"):
        world.coordinator.contracting.offer("archive", world.recipe, terms(), amends=first)


def world_offer(world: World, name: str) -> Envelope:
    (record,) = [r for r in world.coordinator.contracts.contracts(name) if r.state is ContractState.OFFERED]
    return Envelope.parse(record.envelope)


def test_an_amendment_of_a_contract_that_ended_meanwhile_is_not_signed(world: World) -> None:
    world.agree("archive")
    offered = amend(world, "archive")
    (record,) = [r for r in world.coordinator.contracts.contracts("archive") if r.state is ContractState.ACTIVE]
    world.coordinator.contracting.terminate(record, world.clock())
    with pytest.raises(ContractError, match="terminated cannot supersede"):
        sign(world, "archive", offered)
    assert states(world, "archive") == ["terminated", "offered"]


def test_a_revoked_party_is_offered_nothing_and_nothing_of_its_is_in_force(world: World) -> None:
    world.agree("archive")
    world.ship("archive")
    world.standing.revoke("archive")
    for action in Action:
        assert world.coordinator.contracting.in_force(action) == []
    with pytest.raises(ConflictError, match="no live shard may be composed"):
        world.coordinator.building.members(GROUP)
    with pytest.raises(ConflictError, match="is revoked"):
        world.coordinator.contracting.offer("archive", world.recipe, terms())
