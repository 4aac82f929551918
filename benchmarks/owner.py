"""Put the owner's figures together: docs/results/owner.json, from the results that stand beside it.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/owner.py

It measures nothing. Each figure comes with the command, the time and the machine of the program that measured it; what
was not measured is null, and named on standard error.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a figure comes from.

    Attributes:
        result: name of the result's file, without its ending.
        read: takes the figure from the result's `figures`.
    """

    result: str
    read: Callable[[dict[str, Any]], object]

    @property
    def program(self) -> str:
        """Name of the benchmark that writes the result; with --device cuda where it is of a GPU, else with --out."""
        return self.result.removesuffix("_gpu").removesuffix("_16_cores")


FIGURES = {
    "ship_over_floor": Source(result="shipping", read=lambda found: found["ship_over_floor"]),
    "ship_over_floor_on_16_cores": Source(result="shipping_16_cores", read=lambda found: found["ship_over_floor"]),
    "ship_peak_mb": Source(result="shipping", read=lambda found: found["ship_peak_mb"]),
    "steps_per_s_ratio": Source(result="throughput", read=lambda found: found["steps_per_s_ratio"]),
    "steps_per_s_ratio_on_a_gpu": Source(result="throughput_gpu", read=lambda found: found["steps_per_s_ratio"]),
    "resume_bit_exact": Source(result="resume", read=lambda found: found["resume_bit_exact"]),
    "resume_bit_exact_on_a_gpu": Source(result="resume_gpu", read=lambda found: found["resume_bit_exact"]),
    "erase_speedup": Source(result="erasure", read=lambda found: found["erase_speedup"]),
    "faults": Source(result="faults", read=lambda found: found["faults"]),
}


def main() -> None:
    """Gather and write, whole or not at all."""
    found = {name: figure(source, recording.RESULTS) for name, source in FIGURES.items()}
    for name in [name for name, (value, _) in found.items() if value is None]:
        sys.stderr.write(
            f"{name}: {FIGURES[name].result}.json is not there; run benchmarks/{FIGURES[name].program}.py\n"
        )
    result = {
        "command": "PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/owner.py",
        "figures": {name: value for name, (value, _) in found.items()},
        "measured": {name: origin for name, (_, origin) in found.items() if origin},
    }
    path = recording.RESULTS / "owner.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def figure(source: Source, folder: Path) -> tuple[object, dict[str, object]]:
    """Return a figure and who measured it when; (None, {}) where its result is not there."""
    path = folder / f"{source.result}.json"
    if not path.is_file():
        return None, {}
    result = json.loads(path.read_text(encoding="utf-8"))
    origin = {key: result[key] for key in ("command", "at", "seeds", "versions", "machine")}
    return source.read(result["figures"]), {"result": path.name, **origin}


if __name__ == "__main__":
    main()
