"""Flower's processes that outlived a coordinator which was killed: noted while they run, ended before the next begins.

They hold the very ports that the next SuperLink needs. A process id alone is not enough, ids are used again: a process
is known by its id and the kernel's start time of it. Where /proc does not tell start times, nothing is noted or ended.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from severable_coordinator.adapters.disk import write_private

_START_TIME_FIELD = 19  # of /proc/PID/stat, counted after the name in parentheses (proc(5): field 22)
_ENDED = ("Z", "X")  # states of a process that is over, though its entry is there still
_GONE_S = 10.0
_POLL_S = 0.05


def note(path: Path, pids: Iterable[int]) -> None:
    """Note the leaders of the process groups that run now, in place of what was noted; ``pid start-time`` a line."""
    lines = [f"{pid} {started}\n" for pid in pids if (started := _start_time(pid))]
    write_private(path, "".join(lines).encode("ascii"))


def end_those_of_before(path: Path) -> int:
    """Kill the groups that an earlier coordinator noted and that still run; return how many, once they are gone."""
    if not path.is_file():
        return 0
    noted = (line.partition(" ") for line in path.read_text(encoding="ascii", errors="replace").splitlines())
    known = {int(pid): started for pid, _, started in noted if pid.isdigit() and started}
    left = {pid: started for pid, started in known.items() if _start_time(pid) == started}
    for pid in left:
        os.killpg(pid, signal.SIGKILL)
    deadline_s = time.monotonic() + _GONE_S
    while any(_start_time(pid) == started for pid, started in left.items()) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    note(path, ())
    return len(left)


def _start_time(pid: int) -> str:
    """Return the kernel's start time of a running process in clock ticks since boot, or nothing if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in _ENDED else fields[_START_TIME_FIELD]
