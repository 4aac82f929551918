"""A coordinator's clock that is set back: no contract that ended comes to life again."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World

from severable_coordinator.adapters.steady_clock import TOLERANCE, SteadyClock
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConfigError, ConflictError

SECOND, YEAR = timedelta(seconds=1), timedelta(days=365)


def test_a_clock_that_is_set_back_brings_no_ended_contract_to_life(tmp_path: Path) -> None:
    """The latest time told is remembered over restarts, and nothing is done at an earlier one."""
    world = World(tmp_path / "home")
    world.join("archive")
    world.agree("archive", days=30)
    world.ship("archive")
    begin, mark = world.clock.now, world.coordinator.layout.clock_mark

    def started() -> Coordinator:
        return Coordinator(world.coordinator.layout, world.coordinator.config, SteadyClock(mark, world.clock))

    world.clock.now = begin + timedelta(days=30)
    with pytest.raises(ConflictError, match="no live shard may be composed"):
        started().building.members(GROUP)
    world.clock.now = begin + SECOND
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"this machine's clock says .* was told before; set the clock right"):
            started().building.members(GROUP)
    mark.unlink()  # the operator's own decision, and the way back from a clock that ran ahead
    assert started().building.members(GROUP).shards


def test_a_clock_that_went_back_is_told_apart_from_one_that_is_a_little_late(tmp_path: Path) -> None:
    now = datetime.fromisoformat("2026-06-01T12:00:00+00:00")
    clock = SteadyClock(tmp_path / "mark", lambda: now)
    assert clock() == now
    later, now = now, now - TOLERANCE
    assert clock() == now
    now -= SECOND
    with pytest.raises(ConfigError, match="set the clock right"):
        clock()
    now = later + YEAR
    assert clock() == now
    now = later
    with pytest.raises(ConfigError, match="set the clock right"):  # also in another process
        SteadyClock(tmp_path / "mark", lambda: now)()


def test_a_time_that_was_garbled_on_the_disk_is_no_time(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text("yesterday")
    with pytest.raises(ConfigError, match="remove it once the clock is right"):
        SteadyClock(tmp_path / "mark", lambda: datetime.fromisoformat("2026-06-01T12:00:00+00:00"))()


def test_a_home_that_is_opened_has_a_steady_clock(tmp_path: Path) -> None:
    opened = open_home(World(tmp_path / "home").home)
    assert isinstance(opened.clock, SteadyClock)
    opened.clock()
    assert opened.layout.clock_mark.is_file()
