"""Pictures for people: a labelled grid of samples, the router's weights along the trajectory, parties' shares.

Shapes: N images, C, H, W, S sampler steps, K shards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw, ImageFont

from severable_diffusion.images import to_pil

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

TILE = 96
MARGIN = 8
CAPTION = 16
TITLE = 28
_LETTERS = 110  # small letters across the bars of `plot_shares`
PAPER, INK, FAINT = "#ffffff", "#1f2933", "#52606d"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers; without its yellow, too faint for a line on white."""


def grid(
    images: Sequence[Image.Image] | torch.Tensor,
    labels: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    everyone: Collection[str] = (),
) -> Image.Image:
    """Return images side by side, each with its label below, for example "owner-a 97%".

    Args:
        images: Pillow images, or (N, C, H, W) in [-1, 1]; small ones are enlarged without smoothing.
        labels: one caption per image; equal first words get equal colours.
        columns: images per row; about square by default.
        title: a line above.
        everyone: first words that may stand in other pictures; the same ones give the same colours in all of them.

    Raises:
        ValueError: if there are no images, or not one label for each.
    """
    pictures = to_pil(images) if isinstance(images, torch.Tensor) else list(images)
    if not pictures:
        raise ValueError("a grid needs at least one image")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"{len(labels)} labels for {len(pictures)} images")
    across = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    down = math.ceil(len(pictures) / across)
    cell_height = TILE + MARGIN + (CAPTION if labels else 0)
    top = TITLE if title else 0
    sheet = Image.new("RGB", (across * (TILE + MARGIN) + MARGIN, down * cell_height + MARGIN + top), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((MARGIN, MARGIN), title, fill=INK, font=ImageFont.load_default(15))
    colour_of = colours([*everyone, *(_owner(label) for label in labels or ())])
    for place, picture in enumerate(pictures):
        left = MARGIN + (place % across) * (TILE + MARGIN)
        upper = MARGIN + top + (place // across) * cell_height
        sheet.paste(enlarged(picture), (left, upper))
        if labels is not None:
            _caption(pen, labels[place], left, upper + TILE + 2, colour_of[_owner(labels[place])])
    return sheet


def _owner(label: str) -> str:
    return label.split(" ", maxsplit=1)[0]


def colours(names: Collection[str]) -> dict[str, str]:
    """Return a colour for every name, by its place in alphabetical order; the eighth gets the first one again."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(sorted(set(names)))}


def enlarged(picture: Image.Image, side: int = TILE) -> Image.Image:
    """Return a picture in the middle of a square, a small one by a whole factor and without smoothing."""
    factor = max(1, side // max(picture.size))
    larger = picture.convert("RGB").resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if max(larger.size) > side:
        larger.thumbnail((side, side))
    tile = Image.new("RGB", (side, side), PAPER)
    tile.paste(larger, ((side - larger.width) // 2, (side - larger.height) // 2))
    return tile


def _caption(pen: ImageDraw.ImageDraw, label: str, left: int, upper: int, colour: str) -> None:
    font = ImageFont.load_default(11)
    pen.rectangle((left, upper + 3, left + 7, upper + 10), fill=colour)
    while pen.textlength(label, font=font) > TILE - 12 and len(label) > 1:
        label = label[:-2] + "…"
    pen.text((left + 11, upper), label, fill=FAINT, font=font)


def plot_weights(
    path: Path,
    trajectory_SK: torch.Tensor,
    log_snr: Sequence[float],
    names: Sequence[str],
    *,
    title: str = "Router weights along the trajectory",
    everyone: Collection[str] = (),
) -> None:
    """Write a PNG of weights against log-SNR, noise on the left, data on the right.

    Args:
        path: the file to write.
        trajectory_SK: one sample's weights at every step; or (S, N, K), where each sample is drawn as a faint line
            and the mean of those that end at one shard as a bold one.
        log_snr: the S log-SNRs.
        names: one name per shard.
        title: the line above.
        everyone: names that may stand in other pictures, as in `grid`.
    """
    weights_SNK = trajectory_SK[:, None, :] if trajectory_SK.dim() == 2 else trajectory_SK
    leader_N = weights_SNK[-1].argmax(dim=1)
    colour_of = colours([*everyone, *names])
    figure = Figure(figsize=(2.9 * len(names) + 0.8, 3.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for owner, (panel, name) in enumerate(zip(panels, names, strict=True)):
        own_SMK = weights_SNK[:, leader_N == owner]
        for k in range(len(names)):
            colour = colour_of[names[k]]
            if own_SMK.shape[1]:
                panel.plot(log_snr, own_SMK[:, :24, k].numpy(), color=colour, alpha=0.12, linewidth=0.8)
                panel.plot(log_snr, own_SMK[:, :, k].mean(dim=1).numpy(), color=colour, linewidth=2.2, label=names[k])
        panel.set_title(f"{own_SMK.shape[1]} images that end at {name}", fontsize=9, color=FAINT)
        panel.set_xlabel("log-SNR  (noise → image)")
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_ylim(-0.02, 1.02)
        panel.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    panels[0].set_ylabel("weight of the shard")
    handles = {line.get_label(): line for panel in panels for line in panel.get_lines() if line.get_label() in names}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(names), frameon=False)
    figure.savefig(path, metadata={"Software": None})


def plot_shares(
    path: Path,
    shares: Mapping[str, Mapping[str, float]],
    *,
    title: str = "Shares of the images, by party",
    everyone: Collection[str] = (),
) -> None:
    """Write a PNG of stacked bars, one for each measure, with every party's share written into its part.

    Args:
        path: the file to write.
        shares: for each measure its name and every party's share; those of one measure sum to 1.
        title: the line above.
        everyone: names that may stand in other pictures, as in `grid`.
    """
    names = sorted({name for measure in shares.values() for name in measure})
    colour_of = colours([*everyone, *names])
    figure = Figure(figsize=(9.0, 1.3 + 0.62 * len(shares)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK)
    panel = figure.subplots()
    unnamed = set(names)
    for place, measure in enumerate(shares.values()):
        left = 0.0
        for name in names:
            share = measure.get(name, 0.0)
            panel.barh(place, share, left=left, height=0.72, color=colour_of[name], edgecolor=PAPER)
            text, full = _share_text(name, share)
            panel.text(left + share / 2, place, text, ha="center", va="center", fontsize=8, color=_on(colour_of[name]))
            unnamed -= {name} if full else set()
            left += share
    panel.set_yticks(range(len(shares)), list(shares), fontsize=9, color=INK)
    panel.invert_yaxis()
    panel.set_xlim(0.0, 1.0)
    panel.set_xticks([])
    panel.tick_params(left=False)
    panel.spines[:].set_visible(False)
    if unnamed:  # a party whose part is nowhere wide enough for its name
        patches = [Patch(color=colour_of[name], label=name) for name in names]
        across = max(1, _LETTERS // (max(map(len, names)) + 8))
        figure.set_figheight(figure.get_figheight() + 0.25 * math.ceil(len(names) / across))
        figure.legend(handles=patches, loc="outside lower center", ncols=across, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def _share_text(name: str, share: float) -> tuple[str, bool]:
    """Return what fits into a part of a bar, and whether that is the name too."""
    if share * _LETTERS >= max(len(name), 4) + 1:
        return f"{name}\n{share:.1%}", True
    return (f"{share:.0%}" if share >= 0.025 else ""), False


def _on(colour: str) -> str:
    """Return the ink that is read on a colour (relative luminance, ITU-R BT.709)."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 125 else PAPER
