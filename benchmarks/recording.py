"""How a benchmark writes down what it saw: docs/results/NAME.json with command, seeds, versions and machine."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


def record(
    path: Path, command: str, seeds: Mapping[str, object], packages: Iterable[str], figures: Mapping[str, object]
) -> None:
    """Write a result, whole or not at all."""
    result = {
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": dict(seeds),
        "versions": {name: metadata.version(name) for name in packages},
        "machine": machine(),
        "figures": dict(figures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(path)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_average_1_5_15_min": [round(load, 2) for load in os.getloadavg()],
    }
