"""The picture of a membership attack: hit rate against false rate, one curve for each composite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from severable_diffusion.pictures import COLOURS, FAINT, INK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from severable_diffusion.membership_attack import Told


def plot_curves(path: Path, told: Mapping[str, Told], *, title: str) -> None:
    """Write a PNG of the curves, each named with its area and interval, over the diagonal of guessing.

    Args:
        path: the file to write.
        told: what an attack told apart, by the composite's name.
        title: the line above.
    """
    figure = Figure(figsize=(4.8, 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=11)
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0, linestyle=":", label="guessing: 0.5")
    for place, (name, one) in enumerate(told.items()):
        label = f"{name}: {one.area:.3f} ({one.low:.3f} to {one.high:.3f})"
        panel.plot(one.false_rates, one.hit_rates, color=COLOURS[place % len(COLOURS)], linewidth=1.8, label=label)
    panel.set_xlabel("held-out images taken for training images", color=INK)
    panel.set_ylabel("training images found", color=INK)
    panel.set_xlim(-0.01, 1.01)
    panel.set_ylim(-0.01, 1.01)
    panel.set_aspect("equal")
    panel.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, title="area under the curve")
    figure.savefig(path, metadata={"Software": None})
