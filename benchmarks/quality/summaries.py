"""What the seeds of a measurement say together: mean, lowest and highest, and the figures of one split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from quality import work

if TYPE_CHECKING:
    from pathlib import Path


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
        return None
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
        "attribution_remedies": measured.facts.get((f"credit-{split}", measured.seeds[0])),
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
    """Return what removals changed, with its sign: the mean and its standard error, and single removals' extremes."""
    seeds = [fact for (name, _), fact in measured.facts.items() if name == f"drop-{split}"]
    found = [one for fact in seeds for one in fact["removals"].values()]
    if (told := summary([one["change"] for one in found])) is None:
        return None
    pixel = "farthest_pixel_of_samples_of_others"
    errors = [fact["standard_error"] for fact in seeds]
    return told | {
        "mean_of_seeds": [round(fact["mean_change"], 4) for fact in seeds],
        "standard_error": round(math.hypot(*errors) / len(errors), 4),
        pixel: max((one[pixel] for one in found if pixel in one), default=None),
    }


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
