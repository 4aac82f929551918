"""Idle time of `up`: a child prepares removals when something changed, and is left alone or ended otherwise."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import GROUP, ManualClock, World, quiet

from severable_coordinator.adapters.idle import IdlePreparing
from severable_coordinator.adapters.settings import read_config, render_config
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.config import Preparing
from severable_coordinator.errors import ConfigError
from severable_coordinator.stores import utc_now

PATIENCE_S = 240.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in ("archive", "clinic"):
        made.join(name)
        made.agree(name)
        made.ship(name)
    made.coordinator.building.assemble(GROUP, quiet)
    return made


def eager(world: World) -> Coordinator:
    config = replace(world.coordinator.config, readiness=Preparing.EAGER)
    world.coordinator.layout.config.write_text(render_config(config))
    return world.reopened()


def ticked(idle: IdlePreparing) -> IdlePreparing:
    """A look at once, which `up` would take in some seconds."""
    idle._looked = -1e9
    idle.tick()
    return idle


def test_the_configuration_says_eager_or_off_and_homes_without_the_word_are_off(world: World) -> None:
    path = world.coordinator.layout.config
    plain = path.read_text()
    assert "readiness" not in plain
    assert read_config(path).readiness is Preparing.OFF
    for word, meant in (("eager", Preparing.EAGER), ("off", Preparing.OFF), ('"off"', Preparing.OFF)):
        path.write_text(f"{plain}readiness: {word}\n")
        assert read_config(path).readiness is meant
    path.write_text(f"{plain}readiness: on\n")
    with pytest.raises(ConfigError, match="readiness is True; it is eager or off"):
        read_config(path)
    assert read_config_of(world, Preparing.EAGER) is Preparing.EAGER


def read_config_of(world: World, readiness: Preparing) -> Preparing:
    path = world.coordinator.layout.config
    path.write_text(render_config(replace(world.coordinator.config, readiness=readiness)))
    return read_config(path).readiness


def test_nothing_is_started_unless_it_is_asked_for_there_is_something_and_no_removal_runs(
    world: World, tmp_path: Path
) -> None:
    assert ticked(IdlePreparing(world.coordinator, print))._child is None  # off
    empty = World(tmp_path / "empty")
    assert ticked(IdlePreparing(eager(empty), print))._child is None  # no composite
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    record = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    world.coordinator.removals.set_state(record.request, "in_progress")
    assert ticked(IdlePreparing(eager(world), print))._child is None


@pytest.mark.integration
def test_a_child_prepares_ends_and_is_started_again_only_when_something_has_changed(world: World) -> None:
    said: list[str] = []
    coordinator = eager(world)
    idle = ticked(IdlePreparing(coordinator, said.append))
    try:
        assert idle._child is not None
        first = idle._child
        assert first.wait(PATIENCE_S) == 0, coordinator.layout.logs.joinpath("readiness.log").read_text()
        assert coordinator.readiness.missing() == []
        assert ticked(idle)._child is None
        world.join("agency")
        world.agree("agency")
        world.ship("agency")
        assert ticked(idle)._child is not None
    finally:
        begun = time.monotonic()
        idle.end()
    assert idle._child is None
    assert time.monotonic() - begun < 30.0
    assert said == []


def test_a_child_that_fails_is_told_of_and_not_tried_again_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("severable_coordinator.adapters.idle._MAIN", "raise SystemExit(3)")
    said: list[str] = []
    idle = ticked(IdlePreparing(eager(world), said.append))
    assert idle._child is not None
    idle._child.wait(PATIENCE_S)
    ticked(idle)
    ticked(idle)
    assert idle._child is None
    assert len(said) == 1
    assert "status 3" in said[0]
