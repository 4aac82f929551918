"""A party's exit: nothing of it is left, so its keys, node and invites go, and both sides are told."""

from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import Owner, World, quiet
from coordinator.removals import PARTY, WAYS, agreed

from severable_coordinator.enrolment import Waiting
from severable_coordinator.errors import ConflictError, EngineError, RefusedError
from severable_coordinator.exits import Exits
from severable_trust.errors import StatementError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def exits_of(world: World) -> Exits:
    """Over a dictionary in the place of Flower; whom it told is kept with the world's nodes."""
    return replace(world.coordinator.exits, standing=world.standing)


def removed(world: World, trigger: str = "breach") -> None:
    record = WAYS[trigger].start(world, agreed(world))
    world.clock.now = max(world.clock.now, world.coordinator.requests.due(record))
    world.coordinator.removal.run(record, quiet)


def test_a_party_whose_last_contract_ended_by_a_removal_leaves_after_a_grace(world: World) -> None:
    removed(world)
    leaving = exits_of(world)
    assert leaving.due(world.clock()) == []  # it can still fetch its receipt
    world.coordinator.logbook.roster().value.party(PARTY)
    world.clock.now += leaving.grace
    assert leaving.due(world.clock()) == [PARTY]
    assert leaving.leave(PARTY) == ""
    with pytest.raises(StatementError, match="revoked"):
        world.coordinator.logbook.roster().value.party(PARTY)
    assert world.nodes == {}
    assert leaving.due(world.clock()) == []


def test_a_party_that_agrees_on_something_new_in_time_stays(world: World) -> None:
    removed(world)
    world.agree(PARTY)
    world.clock.now += exits_of(world).grace
    assert exits_of(world).due(world.clock()) == []
    with pytest.raises(ConflictError, match="a contract that has not ended"):
        exits_of(world).leave(PARTY)


def test_a_party_that_is_to_leave_is_removed_first_and_then_leaves_at_once(world: World) -> None:
    contract = agreed(world, notice_days=0)
    leaving = exits_of(world)
    record = leaving.ask(PARTY, "it left the consortium")
    assert record is not None
    assert leaving.ask(PARTY, "again") == record
    assert leaving.due(world.clock()) == []
    world.coordinator.removal.run(record, quiet)
    assert world.coordinator.orders.left(contract) == []
    assert leaving.due(world.clock()) == [PARTY]


def test_a_party_that_signed_nothing_leaves_without_a_removal(world: World) -> None:
    world.join(PARTY)
    assert exits_of(world).ask(PARTY, "") is None
    assert world.coordinator.parties.party(PARTY).status == "revoked"
    with pytest.raises(ConflictError, match="revoked already"):
        exits_of(world).ask(PARTY, "")


def test_an_open_invite_or_application_goes_with_it(world: World) -> None:
    owner = Owner.make("clinic")
    token, _ = world.enrolment.invite("clinic")
    assert isinstance(world.enrolment.join(token, world.facts(owner)), Waiting)
    second, _ = world.enrolment.invite("clinic")
    world.coordinator.parties.drop_invite("clinic")
    world.coordinator.parties.drop_invite("clinic")
    for used in (token, second):
        with pytest.raises(RefusedError, match="used already or never issued"):
            world.enrolment.join(used, world.facts(owner))


def test_an_exit_stands_when_flower_does_not_answer(world: World) -> None:
    def unreachable(node_key: str) -> None:
        raise EngineError(f"no answer about {node_key[:8]}")

    world.join(PARTY)
    silent = replace(world.standing, unregister_node=unreachable)
    said = replace(world.coordinator.exits, standing=silent).leave(PARTY)
    assert "has not shut" in said
    assert world.coordinator.parties.party(PARTY).status == "revoked"
    world.standing.shut_out_revoked()
    assert world.nodes == {}


def test_a_crash_before_the_revocation_leaves_the_exit_to_be_done(world: World) -> None:
    removed(world)

    def power_cut(_party: str) -> None:
        raise KeyboardInterrupt

    leaving = exits_of(world)
    world.clock.now += leaving.grace
    with pytest.raises(KeyboardInterrupt):
        replace(leaving, announce=power_cut).leave(PARTY)
    assert leaving.due(world.clock()) == [PARTY]
    assert leaving.leave(PARTY) == ""
    assert world.coordinator.parties.party(PARTY).status == "revoked"
