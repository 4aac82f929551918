"""Pictures of credit: weights along the way from noise to image, and each shard's share by three measures.

Shapes: S sampler steps, N samples, K shards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from severable_diffusion.pictures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def commitment(
    path: Path, trajectory_SNK: torch.Tensor, log_snr: Sequence[float], names: Sequence[str], title: str
) -> None:
    """Draw when samples commit: the winner's weight, and how many shards still count, against log-SNR (CDM, figure 3).

    Args:
        path: the PNG.
        trajectory_SNK: posterior weights of the full mixture.
        log_snr: of the S steps.
        names: of the shards, for the number of them.
        title: the line above.
    """
    figure = Figure(figsize=(8.5, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    winner_N = trajectory_SNK[-1].argmax(dim=1)
    won_SN = trajectory_SNK.gather(2, winner_N[None, :, None].expand(len(log_snr), -1, 1))[:, :, 0]
    low_S, middle_S, high_S = torch.quantile(won_SN.float(), torch.tensor([0.1, 0.5, 0.9]), dim=1)
    left.fill_between(log_snr, low_S, high_S, color=COLOURS[0], alpha=0.2, linewidth=0, label="10 % to 90 % of samples")
    left.plot(log_snr, middle_S, color=COLOURS[0], linewidth=2.0, label="median")
    left.axhline(1.0 / len(names), color="#1f2933", linewidth=1.0, linestyle="--", label="1 / shards")
    left.set_title("weight of the shard that a sample ends at", fontsize=9)
    needed_SN = (trajectory_SNK > 0.01).sum(dim=2).float()
    right.plot(log_snr, needed_SN.mean(dim=1), color=COLOURS[1], linewidth=2.0)
    right.set_title("shards with a weight above 0.01, mean", fontsize=9)
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.set_xlabel("log-SNR  (noise → image)")
        panel.set_xlim(-8.0, max(log_snr))  # nothing happens on the way from pure noise to here
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, metadata={"Software": None})


def shares(path: Path, credit: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draw each shard's share of the credit by each measure, as stacked bars.

    Args:
        path: the PNG.
        credit: by measure, each shard's share; each sums to 1.
        title: the line above.
    """
    figure = Figure(figsize=(8.5, 0.6 * len(credit) + 1.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    panel = figure.subplots()
    for row, (measure, by_shard) in enumerate(list(credit.items())[::-1]):
        begun = 0.0
        for place, (name, share) in enumerate(by_shard.items()):
            colour = COLOURS[place % len(COLOURS)]
            panel.barh(row, share, left=begun, color=colour, alpha=0.9 if place < len(COLOURS) else 0.55,
                       edgecolor="white", height=0.7)  # fmt: skip
            if share > 0.03:
                panel.text(begun + share / 2, row, f"{name}\n{share:.0%}", ha="center", va="center", fontsize=7,
                           color="white" if place % len(COLOURS) in (0, 2, 5, 6) else "#1f2933")  # fmt: skip
            begun += share
        panel.text(-0.01, row, measure, ha="right", va="center", fontsize=8)
    panel.set_xlim(0, 1)
    panel.set_yticks([])
    panel.set_xlabel("share of the credit")
    panel.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
