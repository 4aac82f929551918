"""The ServerApp: the dispatch loop on a Flower grid.

Runs in a process of its own for each run, started by the executor; it ends when the batch does.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from severable_coordinator import bootstrap, dispatch
from severable_coordinator.adapters.grid import GridNodes
from severable_coordinator.errors import ConfigError

ASK_EVERY_S = 3.0  # a SuperNode fetches messages every 3 s, so asking more often only makes work
HOME_VARIABLE = "SEVERABLE_HOME"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """See the batch that the run config names through.

    Raises:
        ConfigError: the environment names no home, or the run config no batch.
    """
    home = os.environ.get(HOME_VARIABLE)
    batch = context.run_config.get("batch")
    if not home or not isinstance(batch, str) or not batch:
        raise ConfigError(f"the run needs {HOME_VARIABLE} in its environment and a batch in its run config")
    store = bootstrap.task_store(Path(home))
    dispatch.run(batch, store, GridNodes(grid), sleep=time.sleep, now=lambda: datetime.now(UTC), poll_s=ASK_EVERY_S)
