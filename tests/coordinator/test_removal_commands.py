"""`remove`, `removals`, `contract breach`, `party revoke` and `party exit`: what the operator types and reads."""

import json
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import ManualClock, World, quiet
from coordinator.removals import NOTICE_DAYS, PARTY, WAYS, agreed

from severable_coordinator.stores import utc_now
from severable_trust.contract import ContractState
from severable_trust.digest import Digest


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home", clock=ManualClock(utc_now()))


@pytest.fixture
def home(world: World) -> tuple[str, str]:
    return ("--home", str(world.home))


def rows(cli: Cli, *home: str) -> list[dict[str, object]]:
    found = json.loads(cli("removals", "--format", "json", *home))
    assert isinstance(found, list)
    return found


def state(world: World, contract: Digest) -> ContractState:
    return world.coordinator.contracts.contract(contract).state


def test_a_breach_ends_the_contract_at_once_and_its_removal_is_carried_out_like_any(
    cli: Cli, world: World, home: tuple[str, str], tmp_path: Path
) -> None:
    contract = agreed(world)
    words = ("contract", "breach", contract.hex[:8], "--evidence", "the claim names other images", *home)
    assert "must be one of" in cli.refused(*words, "--reason-code", "legal-order")
    assert state(world, contract) is ContractState.ACTIVE
    assert "is ordered (breach)" in cli(*words, "--reason-code", "false-statement")
    assert state(world, contract) is ContractState.BREACHED
    (row,) = rows(cli, *home)
    assert (row["state"], row["trigger"], row["overdue"]) == ("open", "breach", False)
    out = tmp_path / "receipt.json"
    assert "is fulfilled" in cli("remove", PARTY, "--out", str(out), *home)
    assert "is fulfilled" in cli("remove", PARTY, *home)  # said again, nothing is done again
    assert rows(cli, *home)[0]["state"] == "fulfilled"
    assert out.read_bytes()


def test_an_order_keeps_the_notice_and_is_denied_while_it_is_open(
    cli: Cli, world: World, home: tuple[str, str]
) -> None:
    assert "nobody" in cli.refused("remove", "order", "nobody", *home)
    contract = agreed(world, ship=False)
    said = cli("remove", "order", PARTY, "--reason-code", "purpose-ended", "--reason", "the study is over", *home)
    assert "is ordered (termination)" in said
    assert state(world, contract) is ContractState.TERMINATED
    assert "notice runs until" in cli.refused("remove", PARTY, *home)
    assert "is open already" in cli.refused("remove", "order", PARTY, *home)
    (row,) = rows(cli, *home)
    request = str(row["request"]).removeprefix("sha256:")
    words = ("remove", "deny", request[:10], "--reason", "a court ordered it kept", "--reason-code")
    assert "found by the coordinator itself" in cli.refused(*words, "overtaken", *home)
    assert "is denied: retained-by-law" in cli(*words, "retained-by-law", *home)
    assert "only an open one" in cli.refused(*words, "other", *home)
    assert "requests begin with" in cli.refused("remove", "deny", "ffff", *words[3:], "other", *home)


def test_a_revoked_key_holds_the_contract_up_and_waits_for_a_decision(
    cli: Cli, world: World, home: tuple[str, str]
) -> None:
    contract = agreed(world)
    world.standing.revoke(PARTY)
    assert state(world, contract) is ContractState.SUSPENDED
    (row,) = rows(cli, *home)
    assert (row["party"], row["state"], row["contract"]) == (PARTY, "undecided", str(contract))
    assert "undecided" in cli("removals", *home)
    cli("remove", "order", PARTY, "--reason-code", "key-revoked", *home)
    assert [row["state"] for row in rows(cli, *home)] == ["open"]


def test_an_exit_without_anything_left_is_done_at_once_and_else_after_the_removal(
    cli: Cli, world: World, home: tuple[str, str]
) -> None:
    agreed(world, ship=False)
    said = cli("party", "exit", PARTY, "--yes", "--reason", "it left", *home)
    assert "once it is fulfilled" in said
    assert rows(cli, *home)[0]["reason"] == "party-exit"


def test_what_is_overdue_and_what_failed_is_listed(cli: Cli, world: World, home: tuple[str, str]) -> None:
    world.clock.advance(days=-NOTICE_DAYS)
    record = WAYS["request"].start(world, agreed(world, ship=False, notice_days=0))

    def crash(what: str, _done: int, _total: int) -> None:
        if what == "removal: erase":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.removal.run(record, crash)
    world.coordinator.removals.note_trouble(record.request, "the disk refuses", world.clock())
    world.coordinator.removals.note_trouble(record.request, "the disk still refuses", world.clock())
    (row,) = rows(cli, *home)
    assert (row["state"], row["step"], row["overdue"]) == ("in_progress", "withdraw", True)
    assert (row["failures"], row["trouble"]) == (2, "the disk still refuses")
    assert "the disk still refuses" in cli("removals", *home)
    world.coordinator.removal.run(record, quiet)
    assert rows(cli, *home)[0]["overdue"] is False
