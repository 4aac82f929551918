"""Readiness: routers of departures built beforehand, byte for byte what a removal would build, and gone with theirs."""

import json
import os
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet
from coordinator.meanwhile import Meanwhile

from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.outlook import ESTIMATED, MEASURED, UNKNOWN, Outlook, outlooks
from severable_coordinator.readiness import MARK, Readiness
from severable_coordinator.shard_sets import ShardSet, compartment_of
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.digest import Digest

PARTIES = ("archive", "clinic", "agency")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
        made.ship(name)
    made.coordinator.building.assemble(GROUP, quiet)
    return made


def never() -> bool:
    return False


def prepare(coordinator: Coordinator) -> list[str]:
    """Prepare the routers alone, which is what removals wait for."""
    readiness = routers(coordinator)
    done = []
    while (job := readiness.prepare_next(never, quiet)) is not None:
        done.append(job.what)
    return done


def routers(coordinator: Coordinator) -> Readiness:
    real = coordinator.readiness
    return Readiness(
        building=real.building,
        composites=real.composites,
        shards=real.shards,
        removals=real.removals,
        vault=real.vault,
    )


def request_removal(world: World, name: str) -> Digest:
    contract = world.coordinator.contracts.contracts(name)[0].id
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract)).request


def run(world: World, request: Digest, progress: object = quiet) -> bytes:
    removal = world.coordinator.removal
    return removal.run(world.coordinator.removals.removal(request), progress).bundle  # type: ignore[arg-type]


def left_without(world: World, name: str) -> ShardSet:
    (found,) = [one.after for one in world.coordinator.readiness.departures() if one.party == name]
    assert found is not None
    return found


def test_every_departure_is_prepared_once_and_then_there_is_nothing_left_to_do(world: World) -> None:
    assert prepare(world.coordinator) == [f"router without {name}" for name in sorted(PARTIES)]
    assert prepare(world.reopened()) == []


def test_a_prepared_removal_builds_nothing_and_ends_in_the_bytes_of_a_cold_one(world: World, tmp_path: Path) -> None:
    cold = World(tmp_path / "cold", clock=world.clock)
    from coordinator.test_removal import copy_of  # the same shards at a second coordinator

    cold.owners.update(world.owners)
    remaining = left_without(world, "agency")
    prepare(world.coordinator)
    foreseen = world.coordinator.readiness.foreseen(remaining)
    said: list[str] = []
    run(world, request_removal(world, "agency"), lambda what, _done, _total: said.append(what))
    assert "router" not in said  # no step of a training
    after = world.coordinator.building.live(GROUP)
    assert copy_of(world, cold, ["archive", "clinic"]) == after.id == foreseen
    ours, theirs = (
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "composite.dsse.json"
        }
        for folder in (
            world.coordinator.building.directory(after),
            cold.coordinator.building.directory(cold.coordinator.building.live(GROUP)),
        )
    )
    assert ours == theirs


def test_prepared_routers_that_saw_a_removed_shard_go_with_their_keys(world: World) -> None:
    prepare(world.coordinator)
    doomed = [left_without(world, name).compartment for name in ("archive", "clinic")]
    kept = left_without(world, "agency").compartment
    run(world, request_removal(world, "agency"))
    vault = world.coordinator.vault
    assert kept in vault.compartments()
    for compartment in doomed:
        assert compartment not in vault.compartments()
        assert vault.key_id(compartment) == ""
    assert world.coordinator.readiness.drop_stale() == []
    assert prepare(world.coordinator) == ["router without archive", "router without clinic"]


def test_what_was_prepared_is_encrypted_under_a_key_of_its_own(world: World) -> None:
    prepare(world.coordinator)
    layout, compartment = world.coordinator.layout, left_without(world, "agency").compartment
    sealed = (layout.store / "files" / compartment / "router.safetensors").read_bytes()
    assert world.coordinator.vault.read(compartment, "router.safetensors")[100:200] not in sealed
    keys = {world.coordinator.vault.key_id(name) for name in (compartment, *PARTIES)}
    assert len(keys) == len(PARTIES) + 1


def test_a_new_shard_makes_what_was_prepared_stale(world: World) -> None:
    prepare(world.coordinator)
    before = left_without(world, "agency").compartment
    world.join("press")
    world.agree("press")
    world.ship("press")
    done = prepare(world.coordinator)
    assert before not in world.coordinator.vault.compartments()
    # without press the set is the one that is in use now: its router is there
    assert done[0] == f"router of {GROUP} as it would be assembled now"
    assert done[1:] == [f"router without {name}" for name in sorted(PARTIES)]
    live = compartment_of(world.coordinator.building.live(GROUP).members)
    assert world.coordinator.vault.holds(live, "router.json")
    assert not world.coordinator.vault.holds(live, MARK)


def test_an_interruption_loses_one_router_and_leaves_no_half_of_it(world: World) -> None:
    readiness, seen = routers(world.coordinator), list[object]()
    assert readiness.prepare_next(never, quiet) is not None
    assert readiness.prepare_next(lambda: len(seen) > 3, lambda *said: seen.append(said)) is None
    again = routers(world.reopened())
    assert [job.what for job in again.missing()] == ["router without archive", "router without clinic"]
    assert [name for name in world.coordinator.vault.compartments() if name.startswith("set-")] == sorted(
        {
            compartment_of(world.coordinator.building.live(GROUP).members),
            left_without(world, "agency").compartment,
        }
    )


def test_preparing_gives_way_while_a_removal_runs_and_derives_nothing_of_a_shard_on_its_way_out(world: World) -> None:
    shard = world.coordinator.shards.shards(party="agency")[0].id
    meanwhile = Meanwhile(world, "agency")

    def removal_comes_between(_what: str, done: int, total: int) -> None:
        if done == total:  # the training's last step: what follows is calibration and the writing
            meanwhile.begin()

    readiness = routers(world.coordinator)
    assert readiness.prepare_next(never, quiet) is not None
    readiness.prepare_next(never, removal_comes_between)
    meanwhile.end()
    assert world.coordinator.building.compartments([shard]) == []
    assert world.coordinator.vault.names("agency") == []
    assert world.coordinator.vault.key_id("agency") == ""
    (record,) = world.coordinator.removals.removals()
    world.coordinator.removals.set_state(record.request, "in_progress")
    assert readiness.prepare_next(never, quiet) is None


def test_while_a_notice_runs_the_set_without_the_party_is_prepared(world: World) -> None:
    request_removal(world, "agency")  # its contract has ended, its shard is still there
    after = world.coordinator.building.members(GROUP)
    assert {shard.party for shard in after.shards} == {"archive", "clinic"}
    assert prepare(world.coordinator)[0] == f"router of {GROUP} as it would be assembled now"
    assert world.coordinator.vault.holds(after.compartment, "router.json")


def test_an_altered_prepared_router_does_not_hold_a_removal_up(world: World) -> None:
    prepare(world.coordinator)
    remaining = left_without(world, "agency")
    good = world.coordinator.readiness.foreseen(remaining)
    path = world.coordinator.layout.store / "files" / remaining.compartment / "router.safetensors"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    run(world, request_removal(world, "agency"))
    assert world.coordinator.building.live(GROUP).id == good


def told(world: World) -> dict[str, Outlook]:
    return {one.party: one for one in outlooks(world.coordinator.readiness, lambda one: (f"holder of {one.group}",))}


def prepare_departure(world: World, name: str) -> None:
    """Prepare one thing after the other until the measure of this departure, which comes last, is there."""
    while told(world)[name].changes[0].quality is None:
        assert world.coordinator.readiness.prepare_next(never, quiet) is not None


def test_costs_are_estimates_until_they_are_prepared_and_nothing_is_made_up(world: World) -> None:
    before = told(world)["agency"]
    assert before.basis == ESTIMATED
    (change,) = before.changes
    assert (change.after, change.prepared, change.quality, change.retired) == (None, False, None, False)
    assert change.recipients == ("holder of licensees",)
    prepare_departure(world, "agency")
    after = told(world)["agency"]
    assert after.basis == ESTIMATED  # the assembly of these two was never timed, but no router is in the figure
    assert after.seconds is not None
    assert before.seconds is not None
    assert after.seconds < before.seconds
    assert after.changes[0].prepared
    quality = after.changes[0].quality
    assert quality is not None
    assert quality["low"] < quality["change"] < quality["high"]
    assert (quality["samples"], quality["seed"], quality["measure"]) == (512, 0, "FD-conv32 on banks")
    run(world, request_removal(world, "agency"))
    assert world.coordinator.building.live(GROUP).id == after.changes[0].after
    assert told(world)["clinic"].basis in (MEASURED, ESTIMATED)


def test_without_any_build_to_go_by_the_cost_is_unknown(world: World) -> None:
    for compartment in world.coordinator.vault.compartments():
        world.coordinator.vault.unlink(compartment, "built.json")
    assert [(one.seconds, one.basis) for one in told(world).values()] == [(None, UNKNOWN)] * 3


def test_the_last_party_of_a_group_retires_its_composite(tmp_path: Path) -> None:
    world = World.of(tmp_path / "home", "archive")
    world.ship("archive")
    world.coordinator.building.assemble(GROUP, quiet)
    assert prepare(world.coordinator) == []
    (one,) = told(world).values()
    assert (one.seconds, one.changes[0].retired, one.changes[0].after) == (0.0, True, None)


def test_what_was_measured_beforehand_is_in_the_facts_and_the_receipt(world: World) -> None:
    prepare_departure(world, "agency")
    request = request_removal(world, "agency")
    bundle = run(world, request)
    (told,) = world.coordinator.removal.facts(world.coordinator.removals.removal(request), "quality")["composites"]
    assert told["group"] == GROUP
    checks = verify_receipt(bundle, world.coordinator.trust_root).receipt.value.checks
    (check,) = [one for one in checks if "measured on their banks" in one.check]
    assert f"{told['change']:+.2%}" in check.result
    # and is what is measured after the erasure, from what remains alone
    retained = world.coordinator.removal.retained
    after = world.coordinator.building.members(GROUP)
    gone = {told_of(world, "agency"): 1.0}
    measured = retained.measured(after, gone, quiet)
    assert measured["change"] == told["change"]


def told_of(world: World, party: str) -> str:
    (shard,) = world.coordinator.shards.shards(None, party)
    return shard.id.hex


def test_the_command_prepares_and_tells(cli: Cli, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda _by: 0)  # this process is the test's
    home = ("--home", str(world.home))
    rows = json.loads(cli("readiness", "--format", "json", *home))
    assert [row["party"] for row in rows] == sorted(PARTIES)
    assert {row["changes"][0]["prepared"] for row in rows} == {False}
    assert "not built yet" in cli("readiness", *home)
    text = cli("readiness", "--prepare", *home)
    assert "not built yet" not in text
    assert "%" in text
    rows = json.loads(cli("readiness", "--format", "json", *home))
    assert all(row["changes"][0]["after"].startswith("sha256:") for row in rows)
    with world.coordinator.layout.readiness_lock.open("a") as stream:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "another process is preparing" in cli.refused("readiness", "--prepare", *home)
