"""An owner's executor process: the real Executor and ClientApp, with a desk that writes down what it was asked.

Usage: owner.py RUNTIME SECRET_FILE HOME; HOME/bundles lists allowed bundles, one SHA-256 a line.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from severable_client.adapters.flower_app import make_app
from severable_client.adapters.flower_executor import Executor, serve
from severable_client.ports import JobReport, JobRequest, JobState

STEPS = (JobState.TRAINING, JobState.SHIPPED)


class Desk:
    """Answers the first message with TRAINING, every later one with SHIPPED."""

    def __init__(self, home: Path) -> None:
        self.asked = home / "asked.jsonl"

    def __call__(self, request: JobRequest) -> JobReport:
        with self.asked.open("a") as file:
            file.write(json.dumps(asdict(request)) + "\n")
        count = len(self.asked.read_text().splitlines())
        state = STEPS[min(count, len(STEPS)) - 1]
        return JobReport(state=state, step=count, steps=len(STEPS), detail=f"asked {count} times")


def main() -> None:
    runtime, secret, home = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

    def allowed() -> frozenset[str]:
        return frozenset((home / "bundles").read_text().split())

    with Executor(runtime, secret.read_bytes(), allowed, make_app(Desk(home))) as executor:
        serve(executor)


if __name__ == "__main__":
    main()
