"""Pictures of memorization: samples beside the training images they come nearest to, and how near all of them come.

They show training images: they are for whoever owns those, and for nobody else. Shapes: N images, C, H, W.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from severable_diffusion.images import to_pil
from severable_diffusion.memorization import RATIO
from severable_diffusion.pictures import FAINT, INK, PAPER, enlarged

if TYPE_CHECKING:
    import torch

BINS = 30
GAP = 6  # pixels
SMALL = 48  # pixels a side
HARMLESS, COPIED = "#0072b2", "#d55e00"


def png(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def sheet(x_NCHW: torch.Tensor, columns: int = 16) -> Image.Image:
    """Return images in [-1, 1] as a contact sheet, small ones enlarged without smoothing."""
    tiles = [enlarged(picture, SMALL) for picture in to_pil(x_NCHW)]
    return _pasted(tiles, min(columns, len(tiles)))


def strip(x_NCHW: torch.Tensor) -> Image.Image:
    """Return a few images in [-1, 1] side by side, large enough to be compared by eye."""
    tiles = [enlarged(picture) for picture in to_pil(x_NCHW)]
    return _pasted(tiles, len(tiles))


def _pasted(tiles: list[Image.Image], across: int) -> Image.Image:
    width, height = tiles[0].size
    down = -(-len(tiles) // across)
    page = Image.new("RGB", (across * (width + GAP) - GAP, down * (height + GAP) - GAP), PAPER)
    for place, tile in enumerate(tiles):
        page.paste(tile, ((place % across) * (width + GAP), (place // across) * (height + GAP)))
    return page


def histogram(ratio_N: torch.Tensor) -> list[int]:
    """Return how many ratios fall into each of `BINS` equal parts of [0, 1]."""
    return [int(count) for count in ratio_N.float().clamp(0.0, 1.0).histc(BINS, 0.0, 1.0)]


def plot_ratios(ratio_N: torch.Tensor) -> bytes:
    """Return a PNG: the histogram of ratios, with the line below which a sample counts as a copy."""
    counts = histogram(ratio_N)
    edges = [place / BINS for place in range(BINS)]
    figure = Figure(figsize=(8.0, 2.9), dpi=110, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    tints = [COPIED if edge + 0.5 / BINS < RATIO else HARMLESS for edge in edges]
    panel.bar(edges, counts, width=0.92 / BINS, align="edge", color=tints)
    panel.axvline(RATIO, color=INK, linewidth=1.4, linestyle="--")
    top = max(*counts, 1) * 1.18
    panel.text(RATIO - 0.01, top * 0.96, "counts as a copy", ha="right", va="top", fontsize=9, color=COPIED)
    panel.text(RATIO + 0.01, top * 0.96, "1/3", ha="left", va="top", fontsize=9, color=INK)
    panel.set(xlim=(0.0, 1.0), ylim=(0.0, top), ylabel="samples")
    panel.set_xlabel("distance to the nearest training image ÷ distance to the second nearest", color=FAINT)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
