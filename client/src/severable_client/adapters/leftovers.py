"""Children that outlived a daemon which was killed: noted while they run, ended when the next daemon begins.

A process id alone is not enough, ids are used again: a child is known by its id and the kernel's start time of it.
Where /proc does not tell start times, nothing is noted and nothing is ended.
"""

import os
import signal
from pathlib import Path

from severable_client.adapters.files import write_whole

_START_TIME_FIELD = 19  # of /proc/PID/stat, counted after the name in parentheses (proc(5): field 22)


class Leftovers:
    """The note of running children.

    Args:
        path: the file of the note, one ``pid start-time`` a line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[int, str] = {}

    def note(self, pid: int) -> None:
        """Note a child that was just started."""
        started = start_time(pid)
        if started:
            self._known[pid] = started
            self._write()

    def forget(self, pid: int) -> None:
        """Forget a child that has ended."""
        if self._known.pop(pid, None) is not None:
            self._write()

    def end_those_of_before(self) -> int:
        """Kill the groups of children that an earlier daemon noted and that still run; return how many."""
        ended = 0
        lines = self._path.read_text(encoding="ascii").splitlines() if self._path.is_file() else []
        for pid, _, started in (line.partition(" ") for line in lines):
            if pid.isdigit() and started and start_time(int(pid)) == started:
                os.killpg(int(pid), signal.SIGKILL)
                ended += 1
        self._write()
        return ended

    def _write(self) -> None:
        text = "".join(f"{pid} {started}\n" for pid, started in sorted(self._known.items()))
        write_whole(self._path, text.encode("ascii"))


def start_time(pid: int) -> str:
    """Return the kernel's start time of a running process in clock ticks since boot, or nothing if it is not told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[_START_TIME_FIELD]
