"""A time to act on: late rather than early, whatever the machine's clock does."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_coordinator.confirmed_time import CONFIRM_S, TOLERANCE_S, ConfirmedTime

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@dataclass
class Machine:
    """A clock that can be set, beside true time, and what is made of it."""

    true: datetime = NOON
    off: timedelta = timedelta()
    confirmed: ConfirmedTime = field(default_factory=ConfirmedTime)

    def after(self, seconds: float) -> datetime | None:
        """The confirmed time so many seconds later, asked for twice a minute on the way."""
        said = self.confirmed(self.true + self.off, (self.true - NOON).total_seconds())
        while seconds > 0:
            step = min(30.0, seconds)
            self.true += timedelta(seconds=step)
            seconds -= step
            said = self.confirmed(self.true + self.off, (self.true - NOON).total_seconds())
        return said


def test_a_start_is_confirmed_after_a_while_and_not_before() -> None:
    machine = Machine()
    assert machine.after(CONFIRM_S - 1) is None
    assert machine.after(1) == machine.true


def test_a_jump_forward_that_is_set_right_moves_nothing() -> None:
    machine = Machine()
    machine.after(CONFIRM_S)
    machine.off = WEEK
    assert machine.after(CONFIRM_S - 60) == machine.true
    machine.off = timedelta()
    assert machine.after(2 * CONFIRM_S) == machine.true


def test_a_jump_forward_that_stays_counts_after_a_while() -> None:
    machine = Machine()
    machine.after(CONFIRM_S)
    machine.off = WEEK
    assert machine.after(CONFIRM_S - 60) == machine.true
    assert machine.after(90) == machine.true + WEEK


def test_a_jump_back_holds_everything_up_at_once() -> None:
    machine = Machine()
    machine.after(CONFIRM_S)
    machine.off = -WEEK
    assert machine.after(1) == machine.true - WEEK
    machine.off = timedelta()
    assert machine.after(1) == machine.true  # the confirmed course goes on


def test_a_clock_that_jumps_to_and_fro_is_never_confirmed_where_it_is_not() -> None:
    machine = Machine()
    for n in range(20):
        machine.off = WEEK if n % 2 else timedelta()
        assert machine.after(CONFIRM_S / 2) is None


def test_a_clock_that_is_slewed_stays_on_its_course() -> None:
    machine = Machine()
    machine.after(CONFIRM_S)
    machine.off = timedelta(seconds=TOLERANCE_S - 1)
    assert machine.after(60) == machine.true


@given(jumps=st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(1, int(CONFIRM_S) - 60)), max_size=12))
def test_no_time_is_told_ahead_of_the_true_one_unless_a_wrong_clock_kept_to_it(jumps: list[tuple[int, int]]) -> None:
    """However it jumps: where no wrong course lasts as long as it takes, the time told is never early."""
    machine = Machine()
    machine.after(CONFIRM_S)
    for off, seconds in jumps:
        machine.off = timedelta(seconds=off)
        said = machine.after(seconds)
        assert said is not None
        assert said <= machine.true + timedelta(seconds=TOLERANCE_S)
        machine.off = timedelta(0)
        machine.after(1)


@pytest.mark.parametrize("days", [1, 7, 400])
def test_a_coordinator_that_was_down_finds_the_time_again(days: int) -> None:
    machine = Machine()
    machine.after(CONFIRM_S)
    machine.true += timedelta(days=days)
    machine.confirmed = ConfirmedTime()
    assert machine.after(CONFIRM_S / 2) is None
    assert machine.after(CONFIRM_S) == machine.true
