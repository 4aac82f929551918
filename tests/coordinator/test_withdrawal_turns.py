"""Removals and work with the same shards, in other threads and processes: who waits for whom, and for how long."""

import fcntl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import GROUP, ManualClock, World, quiet

from severable_coordinator.errors import BusyError, WithdrawnError
from severable_coordinator.ports import ShardState
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt

PARTIES = ("archive", "clinic")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def test_an_erasure_waits_for_who_still_works_with_the_shard_and_not_for_others(world: World) -> None:
    shards, real = world.ship_all(), world.coordinator
    guard = replace(real.withdrawal, patience_s=0.2)
    with guard.turns.using([shards["archive"]]):
        with guard.erasing([shards["clinic"]]):
            pass
        with pytest.raises(BusyError, match="still works with a shard"), guard.erasing([shards["archive"]]):
            pytest.fail("erased what is used")
    with guard.erasing([shards["archive"]]):
        pass


_WORKER = """
import sys, time
from pathlib import Path
from severable_coordinator.adapters.turns import FileTurns
from severable_trust.digest import Digest
with FileTurns(Path(sys.argv[1])).using([Digest.parse(sys.argv[2])]):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_while_it_works_holds_no_erasure_up(world: World) -> None:
    shard, real = world.ship("archive"), world.coordinator
    worker = subprocess.Popen(
        [sys.executable, "-P", "-c", _WORKER, str(real.layout.turns), str(shard)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "begun\n"
    with pytest.raises(BusyError, match=f"process {worker.pid}"):
        real.withdrawal.turns.wait_until_unused([shard], 0.1)
    worker.kill()
    worker.wait()
    real.withdrawal.turns.wait_until_unused([shard], 0.1)
    worker.stdout.close()
    assert list(real.layout.turns.glob("use-*")) == []


def test_a_withdrawal_waits_for_the_moment_of_a_hand_out_and_for_no_more(world: World) -> None:
    shard = world.ship("archive")
    seen: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def hand_out() -> None:
        with world.reopened().withdrawal.handing_out([shard]):
            inside.set()
            go.wait(10)
            seen.append("handed out")

    thread = threading.Thread(target=hand_out)
    thread.start()
    assert inside.wait(10)
    with (world.coordinator.layout.turns / "hand-out.lock").open("a") as stream, pytest.raises(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    go.set()
    world.coordinator.withdrawal.withdraw([shard])
    seen.append("withdrawn")
    thread.join(10)
    assert seen == ["handed out", "withdrawn"]
    with pytest.raises(WithdrawnError), world.coordinator.withdrawal.handing_out([shard]):
        seen.append("never")
    assert "never" not in seen


def test_two_removals_at_once_rebuild_without_either_shard(world: World) -> None:
    world.join("agency")
    world.agree("agency")
    shards = world.ship_all()
    world.coordinator.building.assemble(GROUP, quiet)
    failed: list[BaseException] = []

    def remove(name: str) -> None:
        own = world.reopened()
        try:
            contract = own.contracts.contracts(name)[0].id
            record = own.requests.receive(name, world.ask_for_erasure(name, contract))
            own.removal.run(record, quiet)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("agency", "clinic")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    assert world.coordinator.building.live(GROUP).members == (shards["archive"],)
    for record in world.coordinator.removals.removals():
        receipt = verify_receipt(record.bundle, world.coordinator.trust_root).receipt.value
        assert (receipt.outcome, [change.status for change in receipt.composites]) == ("fulfilled", ["rebuilt"])
    for gone in ("agency", "clinic"):
        assert [path for path in world.home.rglob("*") if shards[gone].hex in path.name] == []


def test_a_sampling_in_another_process_ends_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    fresh = World(tmp_path / "fresh", clock=ManualClock(utc_now()))
    fresh.join("clinic")
    fresh.agree("clinic")
    shard = fresh.ship("clinic")
    fresh.coordinator.building.assemble(GROUP, quiet)
    out, turns = tmp_path / "pictures", fresh.coordinator.layout.turns
    words = ["sample", "--images", "256", "--out", str(out), "--home", str(fresh.home)]
    command = [sys.executable, "-P", "-c", "from severable_coordinator.adapters.cli import main; main()", *words]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(turns.glob("use-*.json")):
        assert other.poll() is None, other.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    seconds = fresh.coordinator.withdrawal.withdraw([shard])
    _, said = other.communicate(timeout=120)
    assert seconds < 1.0
    assert other.returncode == 1
    assert "withdrawn meanwhile" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert not out.exists()
    assert list(tmp_path.glob(".pictures*")) == []


def test_a_removal_that_finds_its_shard_in_use_says_by_whom_and_goes_on_at_its_next_run(world: World) -> None:
    shards, real = world.ship_all(), world.coordinator
    real.building.assemble(GROUP, quiet)
    contract = real.contracts.contracts("clinic")[0].id
    record = real.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    impatient = replace(
        real.removal, building=replace(real.building, withdrawal=replace(real.withdrawal, patience_s=0.1))
    )
    with real.withdrawal.turns.using([shards["clinic"]]), pytest.raises(BusyError, match="run the removal again"):
        impatient.run(record, quiet)
    assert real.shards.shard(shards["clinic"]).state is ShardState.WITHDRAWN
    assert "erase" not in real.removals.steps(record.request)
    assert impatient.run(record, quiet).state == "fulfilled"
