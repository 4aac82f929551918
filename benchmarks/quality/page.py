"""docs/results/quality.md: the bars first, then every figure that was measured, as tables beside the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quality import bars

if TYPE_CHECKING:
    from pathlib import Path

    from quality.summaries import Measured

KINDS = {
    "prior": "drawn once, by lambda (default)",
    "joint": "routed, cumulative 0.99",
    "joint_full": "routed, full mixture",
    "joint_drawn_late": "routed above sigma 3, drawn from the router there",
    "joint_larger_drawn_late": "larger router, drawn at sigma 3",
    "heads": "heads, cumulative 0.99",
    "naive": "naive averaging",
}
HEAD = """# Quality, measured

Made by `{command}` from [{stem}.json]({stem}.json); how to run it, and what is measured where, is in
[quality](../quality.md).
Frechet distances are `{net}`: features of a small classifier trained on the data set itself. They are no FID, and only
ratios mean something. The monolith is one network of the same recipe trained on as many images in total as all shards
together (equal computing; the shards together have K times its parameters). {samples} samples a distance.
"""


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _number(value: Any, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, int | float) else str(value)


def _spread(found: dict[str, Any] | None) -> str:
    return f"{found['mean']:.3g} ({found['low']:.3g} to {found['high']:.3g}, n={found['n']})" if found else ""


def _splits(figures: dict[str, Any]) -> str:
    splits = [split for split, facts in figures.items() if isinstance(facts, dict) and "fd_ratio_spread" in facts]
    rows = []
    for kind, told in KINDS.items():
        found = [figures[split]["fd_ratio_spread"].get(kind) for split in splits]
        if any(found):
            rows.append([told, *map(_spread, found)])
    return table(["distance over the monolith's", *splits], rows)


def _dispatches(measured: Measured) -> str:
    first = measured.seeds[0]
    sweep, routed = measured.facts.get(("k-sweep-class-10", first)), measured.facts.get(("routed-class-10", first))
    drawn = measured.facts.get(("drawn-class-10", first))
    if not (sweep and routed and drawn):
        return ""
    named = {"drawn once, by lambda": drawn["prior"], "full mixture": routed["full"],
             "cumulative 0.99": routed["cumulative"], "naive averaging (fewer samples)": drawn["naive"],
             **{name.replace("_", " "): facts for name, facts in sweep.items()}}  # fmt: skip
    rows = [[name, _number(one["distance"]), _number(one["evaluations_per_step"])] for name, one in named.items()]
    return "### Dispatches, class-10\n\n" + table(["dispatch", "distance", "shards evaluated a step"], rows)


def _levels(measured: Measured) -> str:
    routers = measured.facts.get(("routers-class-10", measured.seeds[0]))
    if not routers:
        return ""
    kinds = [kind for kind in ("joint", "real_data", "heads") if kind in routers]
    heads = ["sigma / alpha", *(f"{kind}: nats" for kind in kinds), *(f"{kind}: accuracy" for kind in kinds)]
    rows = [
        [f"{level:g}", *(f"{routers[kind][key][place]:.3f}" for key in ("nll", "accuracy") for kind in kinds)]
        for place, level in enumerate(routers["joint"]["level"])
    ]
    return "### What routers know of real test images, class-10\n\n" + table(heads, rows)


def _facts(measured: Measured) -> str:
    """Return the measurements that are a few numbers each, as lists."""
    shown = ("memorization-class-10", "exact-class-8", "membership-class-8", "rerouted-class-8",
             "real-class-10", "iid-iid-8", "attribution-class-10", "drop-class-8", "fedavg",
             "wide", "larger-class-10", "late-class-10", "budgets-class-10", "monolith")  # fmt: skip
    parts = []
    for (name, seed), facts in sorted(measured.facts.items()):
        if name in shown and seed == measured.seeds[0]:
            lines = [f"- {key}: {_plain(value)}" for key, value in facts.items()]
            parts.append(f"### {name}, seed {seed}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value)
    return _number(value, 4)


def write(path: Path, command: str, samples: int, figures: dict[str, Any], sets: list[Measured]) -> None:
    """Write the page, whole or not at all."""
    nets = {figures[one.name]["monolith"]["feature_network"] for one in sets}
    parts = [HEAD.format(stem=path.stem, command=command, net="`, `".join(sorted(filter(None, nets))), samples=samples)]
    parts.append("## Bars\n\n| what | asked | seen | | of |\n|---|---|---|---|---|")
    parts.append("\n".join(bar.row() for bar in bars.all_of(figures)) + "\n")
    for measured in sets:
        parts.append(f"## {measured.name}\n\n{_splits(figures[measured.name])}")
        pictures = sorted(one.name for one in path.with_suffix("").glob(f"{measured.name}-*.png"))
        parts += [f"![{name.removesuffix('.png')}]({path.stem}/{name})\n" for name in pictures]
        parts += [part for part in (_dispatches(measured), _levels(measured), _facts(measured)) if part]
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(parts), encoding="utf-8")
    partial.replace(path)
