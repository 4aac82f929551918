"""The process in which `up` carries one removal out: whatever becomes of it, the services go on.

    python -m severable_coordinator.adapters.removal_worker HOME REQUEST

Exits 0 when the removal has ended, or 1 after keeping the line that says why it has not.
"""

import sys
import traceback
from pathlib import Path

from severable_coordinator.adapters.carrying import carry_out
from severable_coordinator.bootstrap import open_home
from severable_coordinator.stores import utc_now
from severable_trust.digest import Digest

_MAX_LINE = 500


def main(home: str, request: str) -> int:
    """Carry a removal out; returns the exit status."""
    coordinator, wanted = open_home(Path(home)), Digest.parse(request)

    def progress(what: str, done: int, total: int) -> None:
        say(f"{request[:19]} {what}: {done}/{total}")

    try:
        carry_out(coordinator, wanted, progress, say)
    except Exception as error:  # noqa: BLE001  # the edge of the process: every failure becomes the line that is kept
        traceback.print_exc()
        coordinator.removals.note_trouble(wanted, one_line(error), utc_now())
        return 1
    return 0


def say(line: str) -> None:
    """Write a line into the log that `up` has opened for this process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def one_line(error: BaseException) -> str:
    """What went wrong, as one line of bounded length."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_MAX_LINE]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
