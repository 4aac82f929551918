"""What was asked for (docs/quality.md) beside what was seen: each bar as a row, met or missed, nothing left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SETS = ("fashion-mnist", "mnist", "cifar10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        what: in words.
        asked: the bar itself, in words.
        limit: the number that is compared.
        at_most: whether the figure must be at most the limit; else at least.
        seen: the figure, or None where it was not measured.
        note: what the figure is of, or why it falls short.
    """

    what: str
    asked: str
    limit: float
    at_most: bool
    seen: float | None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None where nothing was measured."""
        if self.seen is None:
            return None
        return self.seen <= self.limit if self.at_most else self.seen >= self.limit

    def row(self) -> str:
        """Return a line of the page's table."""
        verdict = {None: "not measured", True: "met", False: "**missed**"}[self.met]
        seen = "" if self.seen is None else f"{self.seen:.3g}"
        return f"| {self.what} | {self.asked} | {seen} | {verdict} | {self.note} |"


def _at(figures: dict[str, Any], *keys: str) -> Any:
    value: Any = figures
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _distances(figures: dict[str, Any]) -> list[Bar]:
    found = []
    for name, split, limit in (
        ("fashion-mnist", "class-5", 1.10),
        ("fashion-mnist", "class-10", 1.10),
        ("fashion-mnist", "class-8", 1.10),
        ("mnist", "class-10", 1.10),
        ("cifar10", "class-10", 1.15),
    ):
        spread = _at(figures, name, split, "fd_ratio_spread", "prior")
        note = "" if spread is None else f"{spread['low']:.2f} to {spread['high']:.2f} over {spread['n']} seeds"
        seen = _at(figures, name, split, "fd_ratio", "prior")
        what = f"{name}, {split}: distance over the monolith's, default dispatch"
        found.append(Bar(what=what, asked=f"<= {limit:.2f}", limit=limit, at_most=True, seen=seen, note=note))
    naive, prior = (_at(figures, "fashion-mnist", "class-10", "fd_ratio", one) for one in ("naive", "prior"))
    seen = None if naive is None or prior is None else naive / prior
    found.append(Bar(what="naive averaging over routed", asked=">= 1.5", limit=1.5, at_most=False, seen=seen))
    return found


def _attribution(figures: dict[str, Any]) -> list[Bar]:
    found = []
    for name, limit in zip(SETS, (0.90, 0.95, 0.80), strict=True):
        facts = _at(figures, name, "class-10", "attribution_accuracy") or {}
        ceiling = _at(facts, "classes_seen_in_each_shards_own_samples", "mean")
        note = "" if ceiling is None else f"the same judge finds {ceiling:.3f} of each shard's own samples in its class"
        note += _of_patient_judge(_at(figures, name, "class-10", "attribution_remedies"))
        seen = _at(facts, "last_step", "mean")
        what = f"{name}, class-10: credited shard holds the class that a classifier sees"
        found.append(Bar(what=what, asked=f">= {limit:.2f}", limit=limit, at_most=False, seen=seen, note=note))
    return found


def _of_patient_judge(remedies: dict[str, Any] | None) -> str:
    """Say what a judge that was trained longer sees, with the routed credit and with one shard drawn."""
    if remedies is None:
        return ""
    found = remedies["patient_judge"]
    return (
        f"; a judge trained longer ({found['accuracy_on_real_test_images']:.3f} on real images) finds "
        f"{found['cumulative_last_step']:.3f}, where one shard is drawn at sigma 8 {found['drawn_at_sigma_8']:.3f}, by "
        f"lambda {found['drawn_by_lambda']:.3f}"
    )


def _routers(figures: dict[str, Any]) -> list[Bar]:
    found = []
    for name in SETS[:2]:
        facts = _at(figures, name, "class-10") or {}
        share = _at(facts, "router_share_of_training", "router_over_one_shard")
        worst = _at(facts, "calibration_error", "bank_worst_level", "mean")
        walked, average_walked = (
            _at(facts, "calibration_error", f"trajectory_{one}", "mean") for one in ("worst_step", "mean")
        )
        gap = _at(facts, "synthetic_against_real_router_nats", "largest", "mean")
        average = _at(facts, "synthetic_against_real_router_nats", "mean", "mean")
        whole = _at(facts, "router_share_of_training", "router_and_banks_over_all_shards")
        told = "" if whole is None else f"with all banks {whole:.1%} of all shards' training"
        found += [
            Bar(what=f"{name}: router build over one shard's training", asked="<= 0.04", limit=0.04, at_most=True,
                seen=share, note=told),
            Bar(what=f"{name}: calibration error, worst noise level, fresh bank", asked="<= 0.05", limit=0.05,
                at_most=True, seen=worst),
            Bar(what=f"{name}: calibration error, worst step, shards' own fresh trajectories", asked="<= 0.05",
                limit=0.05, at_most=True, seen=walked,
                note="" if average_walked is None else f"{average_walked:.3f} on average"),
            Bar(what=f"{name}: router from banks behind one from real data, worst level in sigma 1 to 8, nats",
                asked="<= 0.05", limit=0.05, at_most=True, seen=gap,
                note="" if average is None else f"{average:.3f} on average"),
        ]  # fmt: skip
    return found


def _others(figures: dict[str, Any]) -> list[Bar]:
    drop = _at(figures, "fashion-mnist", "class-8", "drop_one_change")
    found = [
        Bar(what="dropping 1 of 8: change of the retained data's distance, the mean's size plus its standard error",
            asked="<= 0.01", limit=0.01, at_most=True, seen=_at_worst(drop), note=_removals(drop)),
        Bar(what="training steps a second over diffusers' example", asked=">= 1.0", limit=1.0, at_most=False,
            seen=_at(figures, "steps_per_s_ratio")),
    ]  # fmt: skip
    costs = _at(figures, "fashion-mnist", "costs") or {}
    for kind, limit in (("plain", 1.05), ("condition", 1.15), ("partial_noise", 1.15)):
        by_batch = costs.get(kind) or {}
        own, other = ([one[f"{side}_ms"] for one in by_batch.values()] for side in ("composite", "monolith"))
        seen = min(own) / min(other) if by_batch else None  # a large batch is dear for one network, cheap for several
        what = f"processor time of an image, 8 shards over the monolith, {kind.replace('_', ' ')}, each's best batch"
        told = ", ".join(f"{one['ratio']:.2f} in batches of {size} for both" for size, one in by_batch.items())
        found.append(Bar(what=what, asked=f"<= {limit:.2f}", limit=limit, at_most=True, seen=seen, note=told))
    return found


def _at_worst(drop: dict[str, Any] | None) -> float | None:
    """Return the size of the mean change with its standard error: with removals too few to tell, no bar is met."""
    return None if drop is None else float(abs(drop["mean"]) + drop["standard_error"])


def _against_full(figures: dict[str, Any]) -> list[Bar]:
    """Return what the default dispatch changes against the full mixture, which runs every shard at every step."""
    ratios = _at(figures, "fashion-mnist", "class-10", "fd_ratio") or {}
    full, own = ratios.get("joint_full"), ratios.get("prior")
    start = _at(figures, "fashion-mnist", "partial_noise_start") or {}
    mean, error = _at(start, "change_mean_of_blocks", "mean"), _at(start, "change_standard_error", "mean")
    note = "" if mean is None or error is None else f"{mean:+.3f} with a standard error of {error:.3f}, same noise"
    what = "default dispatch over the full mixture, change of the distance"
    return [
        Bar(what=f"{what}, plain, ten shards", asked="<= 0.01", limit=0.01, at_most=True,
            seen=None if full is None or own is None else own / full - 1.0),
        Bar(what=f"{what}, partial noise, eight shards, plus its standard error", asked="<= 0.01", limit=0.01,
            at_most=True, seen=None if mean is None or error is None else mean + error, note=note),
    ]  # fmt: skip


def _removals(drop: dict[str, Any] | None) -> str:
    """Say how sure the mean is, how far single removals are from it, and what the images of other shards did."""
    if drop is None:
        return ""
    pixel = drop["farthest_pixel_of_samples_of_others"]
    stays = "" if pixel is None else f"; no pixel of an image that stays moves by more than {pixel:.0e}"
    seeds = ", ".join(f"{one:+.3f}" for one in drop["mean_of_seeds"])
    told = f"{drop['mean']:+.4f} with a standard error of {drop['standard_error']:.3f} over {drop['n']} removals"
    told += f" (mean of each seed's {seeds})"
    return f"{told}, one by one {drop['low']:+.3f} to {drop['high']:+.3f}{stays}"


def all_of(figures: dict[str, Any]) -> list[Bar]:
    """Return every bar beside what was seen."""
    return [
        *_distances(figures),
        *_others(figures),
        *_against_full(figures),
        *_routers(figures),
        *_attribution(figures),
    ]
