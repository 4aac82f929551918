"""From measurements to docs/results: quality.json, a page of tables, and the pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from recording import RESULTS, ROOT, record

from quality import work

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = "PYTHONPATH=benchmarks python -P -m quality --data DIR"
MISSING = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that was measured on one data set.

    Attributes:
        name: of the data set.
        seeds: with which it was measured.
        facts: each measurement by (name, seed).
    """

    name: str
    seeds: tuple[int, ...]
    facts: dict[tuple[str, int], dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Measured:
        """Read a data set's measurements from the work folder."""
        facts: dict[tuple[str, int], dict[str, Any]] = {}
        for path in sorted((folder / "measures").glob("*.json"), key=lambda path: path.stat().st_mtime):
            name, seed, _ = path.stem.rsplit("-", 2)
            found = work.kept_facts(path)
            facts[name, int(seed)] = {} if found is None else found
        return cls(name=folder.name, seeds=tuple(sorted({seed for _, seed in facts})), facts=facts)

    def of(self, name: str, *keys: str) -> list[float]:
        """Return a number of a measurement with every seed that has it."""
        found = []
        for seed in self.seeds:
            value: Any = self.facts.get((name, seed), {})
            for key in keys:
                value = value.get(key, {}) if isinstance(value, dict) else {}
            if isinstance(value, int | float):
                found.append(float(value))
        return found

    def ratios(self, name: str, *keys: str) -> list[float]:
        """Return distances as ratios to the monolith of the same seed."""
        found = []
        for seed in self.seeds:
            alone = Measured(name=self.name, seeds=(seed,), facts=self.facts)
            few = keys[0] == "naive"  # naive averaging is measured on fewer samples, and so is its monolith
            mono = alone.of("monolith", "distance_of_few" if few else "distance")
            found += [own / mono[0] for own in alone.of(name, *keys) if mono]
        return found


def summary(values: list[float]) -> dict[str, Any] | None:
    """Return mean, lowest and highest of the seeds, or None."""
    if not values:
        return MISSING
    return {
        "mean": round(mean(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
        "n": len(values),
    }


def of_split(measured: Measured, split: str) -> dict[str, Any]:
    """Return the figures of one split."""
    ratios = {
        "prior": measured.ratios(f"drawn-{split}", "prior", "distance"),
        "joint": measured.ratios(f"routed-{split}", "cumulative", "distance"),
        "joint_full": measured.ratios(f"routed-{split}", "full", "distance"),
        "joint_drawn_late": measured.ratios(f"late-{split}", "sigma_3", "distance"),
        "joint_larger_drawn_late": measured.ratios(f"larger-{split}", "draw_late", "distance"),
        "heads": measured.ratios(f"heads-{split}", "cumulative", "distance"),
        "naive": measured.ratios(f"drawn-{split}", "naive", "distance"),
    }
    found: dict[str, Any] = {
        "fd_ratio": {name: round(mean(values), 4) for name, values in ratios.items() if values},
        "fd_ratio_spread": {name: summary(values) for name, values in ratios.items() if values},
    }
    shares = _router_shares(measured, split)
    optional = {
        "cost_ratio": summary(measured.of(f"cost-{split}", "ratio")),
        "router_share_of_training": shares,
        "attribution_accuracy": _attribution(measured, split),
        "calibration_error": _calibration(measured, split),
        "drop_one_change": _drop(measured, split),
        "synthetic_against_real_router_nats": _gap(measured, split),
        "half_commit_sigma": _half_commit(measured, split),
        "membership_auc": measured.facts.get((f"membership-{split}", measured.seeds[0])),
        "rerouted": measured.facts.get((f"rerouted-{split}", measured.seeds[0])),
        "banks_over_real_data": summary(measured.of(f"real-{split}", "banks_over_real_data")),
        "guided": measured.facts.get((f"guided-{split}", measured.seeds[0])),
        "unlabelled": measured.facts.get((f"unlabelled-{split}", measured.seeds[0])),
    }
    return found | {name: value for name, value in optional.items() if value is not None}


def _router_shares(measured: Measured, split: str) -> dict[str, float] | None:
    router, bank = measured.of(f"routed-{split}", "router_seconds"), measured.of(f"routed-{split}", "bank_seconds")
    facts = [measured.facts.get((f"drawn-{split}", seed), {}) for seed in measured.seeds]
    shards = [fact["shard_seconds"] for fact in facts if "shard_seconds" in fact]
    if not (router and shards):
        return None
    one, whole = mean(shards[0]), sum(shards[0])
    return {
        "router_over_one_shard": round(router[0] / one, 4),
        "router_and_banks_over_one_shard": round((router[0] + bank[0]) / one, 4),
        "router_and_banks_over_all_shards": round((router[0] + bank[0]) / whole, 4),
    }


def _attribution(measured: Measured, split: str) -> dict[str, Any] | None:
    names = ("time_average", "log_snr_weighted", "last_step", "realised", "classes_seen_in_each_shards_own_samples")
    found = {name: summary(measured.of(f"attribution-{split}", name)) for name in names}
    return found if any(found.values()) else None


def _calibration(measured: Measured, split: str) -> dict[str, Any] | None:
    found = [measured.facts[key] for key in measured.facts if key[0] == f"calibration-{split}"]
    if not found:
        return None
    return {
        "bank_worst_level": summary([max(one["bank"]["calibration"]) for one in found]),
        "bank_mean": summary([mean(one["bank"]["calibration"]) for one in found]),
        "trajectory_worst_step": summary([max(one["trajectory"]["calibration"]) for one in found]),
        "trajectory_mean": summary([mean(one["trajectory"]["calibration"]) for one in found]),
    }


def _drop(measured: Measured, split: str) -> dict[str, Any] | None:
    found = [measured.facts[key] for key in measured.facts if key[0] == f"drop-{split}"]
    changes = [one["change"] for seed in found for one in seed.values()]
    told = summary(changes)
    return None if told is None else told | {"mean_size": round(mean(map(abs, changes)), 4)}


def _gap(measured: Measured, split: str) -> dict[str, Any] | None:
    largest, average = (
        measured.of(f"routers-{split}", "largest_gap_nats"),
        measured.of(f"routers-{split}", "mean_gap_nats"),
    )
    return {"largest": summary(largest), "mean": summary(average)} if largest else None


def _half_commit(measured: Measured, split: str) -> dict[str, Any] | None:
    """Return the noise level up to which the joint router's largest weight is 3/4 on the mean; 0 for at none asked."""
    found = [measured.facts[key]["joint"] for key in measured.facts if key[0] == f"routers-{split}"]
    return summary([crossing(one["level"], one["largest"], 0.75) for one in found])


def crossing(level: list[float], largest: list[float], wanted: float) -> float:
    """Return the last level, by lines between those asked, at which `largest` is `wanted`; 0 if it never is."""
    sure = [place for place, value in enumerate(largest) if value >= wanted]
    if not sure or sure[-1] + 1 == len(level):
        return level[sure[-1]] if sure else 0.0
    low, high = sure[-1], sure[-1] + 1
    return level[low] + (level[high] - level[low]) * (largest[low] - wanted) / (largest[low] - largest[high])


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
