"""The enforcement loop with its real worker processes: what is due is done, whatever else fails."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from coordinator.federation import ManualClock, World
from coordinator.removals import NOTICE_DAYS, PARTY, agreed, ordered
from faults.stubborn_disk import StubbornDisk

from severable_coordinator.adapters.enforcer import Enforcer
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.confirmed_time import CONFIRM_S
from severable_coordinator.errors import ConfigError
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.stores import utc_now
from severable_trust.contract import ContractState
from severable_trust.digest import Digest

PATIENCE_S = 600.0
PAUSE_S = 120.0


@dataclass
class Loop:
    """A loop whose monotonic clock moves when told."""

    coordinator: Coordinator
    said: list[str] = field(default_factory=list)
    monotonic_s: float = 0.0

    def __post_init__(self) -> None:
        self.enforcer = Enforcer(self.coordinator, self.said.append, lambda: self.monotonic_s, lambda _: PAUSE_S)

    def look(self, after_s: float = 10.0) -> None:
        """Look once, so many seconds later."""
        self.monotonic_s += after_s
        self.enforcer.tick()

    def settle(self) -> None:
        """Wait until the worker has ended."""
        give_up_s = time.monotonic() + PATIENCE_S
        while self.enforcer.busy:
            assert time.monotonic() < give_up_s
            time.sleep(0.1)
            self.enforcer.tick()

    def confirm(self, clock: ManualClock) -> None:
        """Let the time that it takes to confirm a clock pass, on both clocks."""
        self.look(0.0)
        for _ in range(2):
            clock.advance(seconds=CONFIRM_S / 2)
            self.look(CONFIRM_S / 2)

    def state(self, record: RemovalRecord) -> str:
        return self.coordinator.removals.removal(record.request).state


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home", clock=ManualClock(utc_now()))  # a worker looks at the real clock


@pytest.fixture
def loop(world: World) -> Iterator[Loop]:
    made = Loop(world.coordinator)
    yield made
    made.enforcer.stop()


def ask(world: World, name: str, contract: Digest) -> RemovalRecord:
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))


def test_a_request_without_notice_is_carried_out_at_once_by_a_worker(world: World, loop: Loop) -> None:
    record = ask(world, PARTY, agreed(world, notice_days=0))
    loop.look()
    assert loop.enforcer.busy
    loop.settle()
    assert loop.state(record) == "fulfilled"
    assert any("is fulfilled after" in line for line in loop.said)


def test_notice_and_terms_wait_for_a_confirmed_time(world: World, loop: Loop) -> None:
    record = ask(world, PARTY, agreed(world, ship=False))
    loop.confirm(world.clock)
    world.clock.advance(days=NOTICE_DAYS)  # the clock jumps: nothing has confirmed it yet
    loop.look()
    assert (loop.enforcer.busy, loop.state(record)) == (False, "open")
    world.clock.advance(days=-NOTICE_DAYS)  # and it is set right
    loop.look()
    loop.confirm(world.clock)
    assert (loop.enforcer.busy, loop.state(record)) == (False, "open")
    world.clock.advance(days=NOTICE_DAYS)  # now the days do pass, on both clocks
    loop.look(timedelta(days=NOTICE_DAYS).total_seconds())
    assert loop.enforcer.busy
    loop.settle()
    assert loop.state(record) == "fulfilled"


def test_a_term_that_ended_while_the_coordinator_was_down_is_found(world: World, tmp_path: Path) -> None:
    contract = agreed(world, ship=False, days=1)
    world.clock.advance(days=8)
    loop = Loop(world.reopened())
    loop.look()
    assert world.coordinator.contracts.contract(contract).state is ContractState.ACTIVE
    loop.confirm(world.clock)
    assert world.coordinator.contracts.contract(contract).state is ContractState.EXPIRED
    assert any("is ordered on expiry" in line for line in loop.said)
    loop.enforcer.stop()


def test_a_disk_that_refuses_to_delete_is_told_in_one_line_and_holds_up_nobody(
    world: World, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = ask(world, PARTY, agreed(world, notice_days=0))
    world.join("clinic")
    quick = ask(world, "clinic", world.agree("clinic"))
    disk = StubbornDisk.made(tmp_path, "model.safetensors")
    for name, value in disk.environment.items():
        monkeypatch.setenv(name, value)  # for the workers: this process has loaded its libraries
    loop.look()
    loop.settle()
    (told,) = [line for line in loop.said if "failed" in line]
    assert told.startswith(f"removal of {PARTY} failed (try 1, the next in 120 s): ")
    assert "Input/output error" in told
    assert "\n" not in told
    loop.look()  # the other one's turn, while the first pauses
    loop.settle()
    assert (loop.state(stuck), loop.state(quick)) == ("in_progress", "fulfilled")
    trouble = world.coordinator.removals.troubles()[stuck.request]
    assert (trouble.failures, trouble.line in told) == (1, True)
    loop.look()
    assert not loop.enforcer.busy
    disk.relent()
    loop.look(PAUSE_S)
    loop.settle()
    assert loop.state(stuck) == "fulfilled"
    assert world.coordinator.removals.troubles() == {}
    assert world.coordinator.vault.names(PARTY) == []


def test_a_worker_that_is_killed_is_begun_again(world: World, loop: Loop) -> None:
    record = ask(world, PARTY, agreed(world, notice_days=0))
    loop.look()
    os.killpg(pid_of(world.coordinator), signal.SIGKILL)
    loop.settle()
    assert any("the worker ended with status -9" in line for line in loop.said)
    loop.look(PAUSE_S)
    loop.settle()
    assert loop.state(record) == "fulfilled"


def pid_of(coordinator: Coordinator) -> int:
    return int(coordinator.layout.worker.read_text().split()[0])


def test_a_worker_that_outlived_its_coordinator_is_ended_by_the_next(world: World, loop: Loop) -> None:
    ask(world, PARTY, agreed(world, notice_days=0))
    loop.look()
    following = Loop(world.reopened())
    following.enforcer.start()
    assert following.said == ["ended the worker of a removal that an earlier coordinator left behind; it goes on"]
    loop.settle()


def test_a_clock_that_cannot_be_believed_is_said_once_and_ends_nothing(world: World) -> None:
    looks = count(1)

    def broken() -> None:
        raise ConfigError(f"it is {next(looks)} o'clock; set the clock right")

    loop = Loop(replace(world.coordinator, clock=broken))  # type: ignore[arg-type]  # it tells no time
    for _ in range(3):
        loop.look()
    assert loop.said == ["enforcement waits: it is 1 o'clock; set the clock right"]


def test_with_enforcement_by_hand_nothing_is_begun(world: World) -> None:
    config = world.coordinator.config
    by_hand = replace(config, enforcement=replace(config.enforcement, automatic=False))
    ask(world, PARTY, agreed(world, ship=False, notice_days=0))
    loop = Loop(replace(world.coordinator, config=by_hand))
    loop.look()
    assert not loop.enforcer.busy


def test_a_party_that_was_revoked_waits_for_the_operator(world: World, loop: Loop) -> None:
    contract = agreed(world)
    world.standing.revoke(PARTY)
    for _ in range(2):
        loop.look()
    assert [line for line in loop.said if "decides" in line] == [
        f"{PARTY} is revoked and its contract on hold: `remove order {PARTY}` decides about its shards"
    ]
    ordered(world, contract)
    assert world.coordinator.enforcement.undecided() == []
