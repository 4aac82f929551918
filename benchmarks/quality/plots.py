"""The pictures of docs/results/quality: distances, shards, noise levels, samples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from quality import credit_plots
from severable_diffusion.pictures import COLOURS, grid

if TYPE_CHECKING:
    from pathlib import Path

    from quality.summaries import Measured

SHOWN = {
    "prior": "composite, one shard drawn by lambda",
    "joint": "composite, routed mixture",
    "heads": "composite, routed by heads",
    "naive": "naive averaging",
}


def _figure(width: float, height: float, title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    panel = figure.subplots()
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    panel.set_axisbelow(True)
    return figure, panel


def ratios(path: Path, figures: dict[str, Any], name: str) -> None:
    """Draw every split's distance as a ratio to the monolith, on a logarithmic axis."""
    splits = [split for split in figures if split.startswith(("class", "iid"))]
    splits.sort(key=lambda split: (split.split("-")[0], int(split.split("-")[1])))
    figure, panel = _figure(8.5, 3.8, f"{name}: Frechet distance over the monolith's (below 1 is better than it)")
    for place, (kind, label) in enumerate(SHOWN.items()):
        found = [(x, figures[split]["fd_ratio_spread"].get(kind)) for x, split in enumerate(splits)]
        rows = [(x, one) for x, one in found if one]
        if not rows:
            continue
        xs = [x + 0.2 * (place - 1.5) for x, _ in rows]
        means = [one["mean"] for _, one in rows]
        errors = [[one["mean"] - one["low"] for _, one in rows], [one["high"] - one["mean"] for _, one in rows]]
        panel.bar(xs, means, width=0.18, color=COLOURS[place], label=label, yerr=errors, capsize=2)
        for x, (_, one) in zip(xs, rows, strict=True):
            panel.text(x, one["high"] * 1.06, f"{one['mean']:.2f}", ha="center", va="bottom", fontsize=7)
    panel.axhline(1.0, color="#1f2933", linewidth=1.0)
    panel.set_yscale("log")
    panel.set_xticks(range(len(splits)), [f"{split.split('-')[1]} shards, {split.split('-')[0]}" for split in splits])
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=4)
    figure.savefig(path, metadata={"Software": None})


def by_number(path: Path, facts: dict[str, Any], monolith: float) -> None:
    """Draw the distance to all data against the number of shards: read from the right it is the forgetting curve."""
    figure, panel = _figure(6.5, 3.6, "Distance to all ten classes against the number of one-class shards")
    for place, (kind, label) in enumerate({"routed": "composite", "naive": "naive averaging"}.items()):
        panel.plot([int(k) for k in facts[kind]], list(facts[kind].values()), "o-", color=COLOURS[place], label=label)
    panel.axhline(monolith, color="#1f2933", linewidth=1.0, linestyle="--", label="monolith of all data")
    panel.set_yscale("log")
    panel.set_xlabel("shards in the composite")
    panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def levels(path: Path, routers: dict[str, Any], calibration: dict[str, Any], name: str) -> None:
    """Draw what routers know of real test images at every noise level, and their calibration error."""
    figure = Figure(figsize=(10.5, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{name}, ten one-class shards: routers against noise level", fontsize=11)
    panels = figure.subplots(1, 3)
    titles = ("cross-entropy on real test images, nats", "mean largest weight", "calibration error, fresh bank")
    for panel, key, title in zip(panels, ("nll", "largest", "calibration"), titles, strict=True):
        if key == "calibration":
            panel.plot(calibration["bank"]["level"], calibration["bank"][key], "o-", color=COLOURS[0], label="joint")
            panel.axhline(0.05, color="#1f2933", linewidth=1.0, linestyle="--", label="bar")
        else:
            for place, kind in enumerate(one for one in ("joint", "real_data", "heads") if one in routers):
                label = {"joint": "joint, from banks", "real_data": "joint, from real data", "heads": "heads"}[kind]
                panel.plot(routers[kind]["level"], routers[kind][key], "o-", color=COLOURS[place], label=label)
        panel.set_xscale("log")
        panel.set_xlabel("sigma / alpha")
        panel.set_title(title, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(visible=True, color="#e4e7eb", linewidth=0.6)
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def samples(path: Path, rows: dict[str, torch.Tensor]) -> None:
    """Draw ten images of each kind, a line for each."""
    images_NCHW = torch.cat([x_NCHW[:10] for x_NCHW in rows.values()])
    labels = [name for name in rows for _ in range(10)]
    grid(images_NCHW, labels, columns=10).save(path)


def dispatches(path: Path, sweep: dict[str, Any], routed: dict[str, Any], prior: float) -> None:
    """Draw the distance of every dispatch of the same shards."""
    named = {
        "drawn once, by lambda": prior,
        "full mixture": routed["full"]["distance"],
        "cumulative": routed["cumulative"]["distance"],
        **{_dispatch(key): one["distance"] for key, one in sweep.items()},
    }
    figure, panel = _figure(7.5, 3.6, "Frechet distance by dispatch, ten one-class shards")
    panel.barh(list(named)[::-1], list(named.values())[::-1], color=COLOURS[0])
    for place, value in enumerate(list(named.values())[::-1]):
        panel.text(value, place, f" {value:.1f}", va="center", fontsize=8)
    panel.set_xlabel("distance to the training images")
    figure.savefig(path, metadata={"Software": None})


def _dispatch(key: str) -> str:
    """Return a measured dispatch in words; at the end of its key stand the sampler steps that are not the recipe's."""
    words = re.sub(r"_(\d+)_steps$", r", \1 steps", key)
    return words.replace("per_step_draw", "drawn at every step").replace("prior", "drawn once").replace("_", " ")


def baselines(path: Path, figures: dict[str, Any], name: str) -> None:
    """Draw the composite of ten one-class shards beside what else the same data and steps could have trained."""
    wide, ratios = figures["monolith"]["equal_parameters"], figures["class-10"]["fd_ratio_spread"]
    named = {
        "composite, one shard drawn by lambda": ratios.get("prior"),
        "monolith of as many parameters": None if wide is None else wide["fd_ratio"],
        "federated averaging (Flower's FedAvg)": figures["fedavg"]["ratio_to_monolith"],
        "naive averaging of the shards": ratios.get("naive"),
    }
    rows = [(label, one) for label, one in named.items() if one][::-1]
    figure, panel = _figure(7.5, 2.6, f"{name}: Frechet distance over the monolith's, ten clients of one class")
    means = [one["mean"] for _, one in rows]
    errors = [[one["mean"] - one["low"] for _, one in rows], [one["high"] - one["mean"] for _, one in rows]]
    panel.barh([label for label, _ in rows], means, color=COLOURS[0], xerr=errors, capsize=2)
    for place, (_, one) in enumerate(rows):
        panel.text(one["high"] * 1.05, place, f"{one['mean']:.2f}", va="center", fontsize=8)
    panel.axvline(1.0, color="#1f2933", linewidth=1.0)
    panel.set_xscale("log")
    panel.margins(x=0.12)
    figure.savefig(path, metadata={"Software": None})


def cost_bars(path: Path, costs: dict[str, Any]) -> None:
    """Draw cost ratios by kind of call and batch size, every turn as a point, with their bars."""
    figure, panel = _figure(
        7.5, 3.4, f"Processor time of an image, composite of {costs['shards']} shards over monolith"
    )
    kinds = list(costs["bars"])
    for place, batch in enumerate(costs["plain"]):
        found = {kind: costs[kind][batch] for kind in kinds}
        xs = [x + 0.3 * (place - 0.5) for x in range(len(kinds))]
        label = f"{batch} images a batch"
        panel.bar(xs, [one["ratio"] for one in found.values()], width=0.26, color=COLOURS[place], label=label)
        for x, kind in zip(xs, kinds, strict=True):
            panel.plot([x] * len(found[kind]["ratios"]), found[kind]["ratios"], "k.", markersize=3)
    for x, kind in enumerate(kinds):
        panel.hlines(costs["bars"][kind], x - 0.4, x + 0.4, color="#1f2933", linewidth=1.0, linestyle="--")
    panel.set_xticks(
        range(len(kinds)), [kind.replace("_", " ").replace("condition p", "condition, p") for kind in kinds]
    )
    panel.set_ylim(bottom=0.5)
    panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def all_of(folder: Path, measured: Measured, figures: dict[str, Any]) -> list[str]:
    """Draw every picture for which there are measurements, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    name, facts, first = measured.name, measured.facts, measured.seeds[0]
    made = [f"{name}-ratios.png"]
    ratios(folder / made[0], figures, name)
    routers, calibration = facts.get(("routers-class-10", first)), facts.get(("calibration-class-10", first))
    if routers and calibration:
        made.append(f"{name}-routers.png")
        levels(folder / made[-1], routers, calibration, name)
    if number := facts.get(("number-class-10", first)):
        made.append(f"{name}-number.png")
        by_number(folder / made[-1], number, facts["monolith", first]["distance"])
    if attribution := facts.get(("attribution-class-10", first)):
        made.append(f"{name}-shares.png")
        credit_plots.shares(
            folder / made[-1], attribution["shares"], f"{name}, class-10: each shard's share of the credit"
        )
    sweep, routed = facts.get(("k-sweep-class-10", first)), facts.get(("routed-class-10", first))
    if sweep and routed:
        made.append(f"{name}-dispatch.png")
        dispatches(folder / made[-1], sweep, routed, facts["drawn-class-10", first]["prior"]["distance"])
    if "fedavg" in figures and "class-10" in figures:
        made.append(f"{name}-baselines.png")
        baselines(folder / made[-1], figures, name)
    if "costs" in figures:
        made.append(f"{name}-costs.png")
        cost_bars(folder / made[-1], figures["costs"])
    return made
