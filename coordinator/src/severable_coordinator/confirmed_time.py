"""A time that is late rather than early: what a clock says counts once it has kept to it for a while.

The machine's clock is compared with a monotonic one, which nobody sets. While both run alike, the clock is on one
*course*. A jump, forward or back, begins a new course, and a start begins one, too. A course is *confirmed* when it has
lasted for `confirm_s`; until then the last confirmed course goes on in its place, and where there is none, no time is
told. So a jump forward that is set right within `confirm_s` moves nothing, and one back holds everything up at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

CONFIRM_S = 1800.0  # a time service looks every 17 minutes (2^10 s) or more often: by then a wrong clock was set right
TOLERANCE_S = 60.0  # by which a clock that is slewed, or read late, may leave its course


@dataclass(frozen=True, slots=True)
class _Course:
    """Where a clock stood when it set out: its time (UTC), and that of the monotonic clock (seconds)."""

    wall: datetime
    monotonic_s: float

    def at(self, monotonic_s: float) -> datetime:
        """The time that the course leads to."""
        return self.wall + timedelta(seconds=int(monotonic_s - self.monotonic_s))


class ConfirmedTime:
    """Turns what two clocks say into a time to act on.

    Args:
        confirm_s: seconds that a course must last before it counts.
    """

    def __init__(self, confirm_s: float = CONFIRM_S) -> None:
        self._confirm_s = confirm_s
        self._course: _Course | None = None
        self._confirmed: _Course | None = None

    def __call__(self, wall: datetime, monotonic_s: float) -> datetime | None:
        """The time to act on, never later than `wall` (UTC); None while no course is confirmed.

        Args:
            wall: what the machine's clock says.
            monotonic_s: what a clock says at the same moment that only goes forward, in seconds.
        """
        course = self._course
        if course is None or abs((wall - course.at(monotonic_s)).total_seconds()) > TOLERANCE_S:
            self._course = course = _Course(wall, monotonic_s)
        if monotonic_s - course.monotonic_s >= self._confirm_s:
            self._confirmed = course
        if self._confirmed is None:
            return None
        return min(self._confirmed.at(monotonic_s), wall)
