"""Run every fault test with its real processes and write down which passed: docs/results/faults.json.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/fault_matrix.py [--only WORDS] [--out FILE]

The tests are those of tests/faults, also the ones that `make test` leaves to `make soak`. A fault counts as passed if
afterwards one whole shard was admitted, once, and nothing was lost. A skipped one has not passed, and is listed.
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from recording import RESULTS, ROOT, record

VERSIONS = ("pytest", "torch", "grpcio", "flwr")


@dataclass
class Outcomes:
    """A pytest plugin that notes how each fault's test ended, and how long it took with what it shares set up."""

    passed: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each test's setup, call and teardown."""
        name = name_of(report.nodeid)
        self.passed[name] = self.passed.get(name, True) and report.passed
        self.seconds[name] = round(self.seconds.get(name, 0.0) + report.duration, 1)
        if report.skipped:
            self.skipped.append(name)


def name_of(nodeid: str) -> str:
    """A fault's name in words: its test's case, or the test's own name."""
    function, _, case = nodeid.rpartition("::")[2].partition("[")
    return case.removesuffix("]") or function.removeprefix("test_").replace("_", " ")


def main() -> None:
    """Run, record, and exit 1 unless all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS", help="as pytest's -k has it; not for the record")
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json", help="the result (default: %(default)s)")
    args = parser.parse_args()
    outcomes = Outcomes()
    where = ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests" / "faults")]
    status = pytest.main([*where, "-v", "-k", args.only], plugins=[outcomes])
    figures = {
        "faults": outcomes.passed,
        "faults_passed": sum(outcomes.passed.values()),
        "faults_total": len(outcomes.passed),
        "faults_skipped": outcomes.skipped,
        "seconds": outcomes.seconds,
    }
    command = "PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/fault_matrix.py"
    record(args.out, command + (f" --only {args.only!r}" if args.only else ""), {}, VERSIONS, figures)
    print(f"{figures['faults_passed']} of {figures['faults_total']} faults survived; written to {args.out}")
    if status or not all(outcomes.passed.values()) or not outcomes.passed:
        sys.exit("what failed is above")


if __name__ == "__main__":
    main()
