"""The real dispatch loop on the real grid, with tasks and reports in files below SEVERABLE_HOME."""

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from severable_coordinator import dispatch
from severable_coordinator.adapters.grid import GridNodes

app = ServerApp()


class FileTasks:
    """tasks.json holds tasks, reports.jsonl what was reported."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def closed(self, _batch: str) -> list[dispatch.Task]:
        return []

    def open_tasks(self, batch: str) -> list[dispatch.Task]:
        tasks = [dispatch.Task(**task) for task in json.loads((self.home / "tasks.json").read_text())]
        return [task for task in tasks if task.batch == batch]

    def report(self, task_id: str, report: dispatch.JobReport) -> None:
        with (self.home / "reports.jsonl").open("a") as file:
            file.write(json.dumps({"task": task_id, "at": time.time(), **asdict(report)}) + "\n")


@app.main()
def main(grid: Grid, context: Context) -> None:
    store = FileTasks(Path(os.environ["SEVERABLE_HOME"]))
    batch = str(context.run_config["batch"])
    dispatch.run(batch, store, GridNodes(grid), sleep=time.sleep, now=lambda: datetime.now(UTC), poll_s=0.5)
