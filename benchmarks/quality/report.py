"""From measurements to docs/results: quality.json, a page of tables, and the pictures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recording import RESULTS, ROOT, record

from quality import work
from quality.summaries import Measured, of_split, summary

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = "PYTHONPATH=benchmarks python -P -m quality --data DIR"


def command(size: str) -> str:
    """Return the command whose results these are."""
    return COMMAND if size == "cpu" else f"{COMMAND} --size {size}"


def write(folder: Path, size: str, path: Path = RESULTS / "quality.json") -> dict[str, Any]:
    """Write the results file of what was measured in a work folder, and return its figures."""
    sets = [Measured.read(path) for path in sorted(folder.iterdir()) if (path / "measures").is_dir()]
    figures: dict[str, Any] = {"size": size, "steps_per_s_ratio": _throughput()}
    if (ran := work.kept_facts(folder / "ran.json")) is not None:
        figures["ran_on"] = ran["runs"]
    for measured in sets:
        splits = sorted({name.split("-", 1)[1] for name, _ in measured.facts if name.startswith("drawn-")})
        figures[measured.name] = {
            "monolith": _monolith(measured),
            **_baselines(measured),
            **{split: of_split(measured, split) for split in splits},
        }
    seeds = {measured.name: list(measured.seeds) for measured in sets}
    record(path, command(size), seeds, ("torch", "diffusers", "numpy"), figures)
    return figures


def _monolith(measured: Measured) -> dict[str, Any]:
    first = measured.facts.get(("monolith", measured.seeds[0]), {})
    return {
        "distance": summary(measured.of("monolith", "distance")),
        "real_test_images": summary(measured.of("monolith", "real_test_images")),
        "feature_network": first.get("feature_network"),
        "feature_accuracy": first.get("feature_accuracy"),
        "training_seconds": summary(measured.of("monolith", "training_seconds")),
        "parameters": "as one shard",
        "equal_parameters": _equal_parameters(measured),
    }


def _equal_parameters(measured: Measured) -> dict[str, Any] | None:
    found = [fact for (name, _), fact in measured.facts.items() if name == "wide"]
    if not found:
        return None
    return {
        "distance": summary(measured.of("wide", "distance")),
        "fd_ratio": summary(measured.of("wide", "ratio_to_monolith")),
        "parameters": found[0]["parameters"],
        "parameters_of_one_shard": found[0]["parameters_of_one_shard"],
        "training_seconds": summary(measured.of("wide", "training_seconds")),
    }


def _baselines(measured: Measured) -> dict[str, Any]:
    """Return federated averaging and the costs, each if it was measured."""
    found: dict[str, Any] = {}
    if averaged := [fact for (name, _), fact in measured.facts.items() if name == "fedavg"]:
        ratios = ("ratio_to_monolith", "ratio_to_composite", "distance", "processor_seconds")
        same = ("rounds", "local_steps", "steps", "monolith_steps", "sampled", "compared", "not_compared")
        found["fedavg"] = {name: summary(measured.of("fedavg", name)) for name in ratios}
        last = measured.of("fedavg", "last_weights", "ratio_to_monolith")
        found["fedavg"] |= {"last_weights_ratio_to_monolith": summary(last)}
        found["fedavg"] |= {name: averaged[0][name] for name in same}
    if timed := [fact for (name, _), fact in measured.facts.items() if name == "costs-class-8"]:
        found["costs"] = timed[0]
    if partial := [fact for (name, _), fact in measured.facts.items() if name == "partial-class-8"]:
        names = ("change", "change_mean_of_blocks", "change_standard_error", "change_of_another_draw")
        found["partial_noise_start"] = {name: summary(measured.of("partial-class-8", name)) for name in names}
        found["partial_noise_start"] |= {name: partial[0][name] for name in ("samples", "strength", "bar")}
    return found


def _throughput() -> Any:
    path = ROOT / "docs" / "results" / "throughput.json"
    if not path.exists():
        return None
    return json.loads(path.read_text())["figures"].get("steps_per_s_ratio")
