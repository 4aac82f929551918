"""Contracts at the coordinator: who may sign what, and what is in force when."""

from pathlib import Path

import pytest
from coordinator.federation import World, terms

from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_trust.contract import Action, ContractState
from severable_trust.errors import SignatureError
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
