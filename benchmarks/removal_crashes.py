"""Kill a removal at every durable operation it makes, for every trigger, and record how it was gone on with.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/removal_crashes.py [--points N] [--out FILE]

Durable operations are database commits, vacuum and checkpoint, files opened for writing, renamed and unlinked, keys
overwritten and unlinked (tests/coordinator/guillotine.py). A point has passed when a new process goes on, and then one
receipt verifies, the state is that of a removal that nothing disturbed, and no byte of the party's weights or keys is
found in the home (tests/coordinator/removal_crashes.py). Exits 1 unless all have passed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import recording
from coordinator.removal_crashes import TRIGGERS, outcomes

_PACKAGES = ("severable-coordinator", "torch", "sqlalchemy", "tink")


def main() -> int:
    """Run all points, or so many of each trigger."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=0, help="of each trigger; 0 for all")
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "removal_crashes.json")
    chosen = parser.parse_args()
    begun_s, points, passed, failures = time.monotonic(), Counter[str](), Counter[str](), []
    with tempfile.TemporaryDirectory() as work:
        for outcome in outcomes(Path(work), [*TRIGGERS], chosen.points, seed=0):
            points[outcome.trigger] += 1
            passed[outcome.trigger] += not outcome.why
            if outcome.why:
                failures.append(f"{outcome.trigger}, before {outcome.point} ({outcome.operation}): {outcome.why}")
                print(failures[-1], flush=True)
    figures = {
        "crash_points": points.total(),
        "crash_points_passed": passed.total(),
        "by_trigger": {name: {"points": points[name], "passed": passed[name]} for name in TRIGGERS},
        "failures": failures,
        "seconds": round(time.monotonic() - begun_s, 1),
    }
    command = "PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/removal_crashes.py"
    command += f" --points {chosen.points}" if chosen.points else ""
    recording.record(chosen.out, command, {"points": 0}, _PACKAGES, figures)
    print(f"{figures['crash_points_passed']} of {figures['crash_points']} points passed; {chosen.out}")
    return 0 if not failures else 1


if __name__ == "__main__":
    sys.exit(main())
