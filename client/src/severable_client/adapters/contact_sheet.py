"""A contact sheet: a row for each class with a few of its images, drawn evenly from all of them."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from severable_client.adapters.files import write_whole

CELL = 96  # pixels a side
GAP = 4
LABEL_WIDTH = 150
PER_CLASS, CLASSES = 10, 40
_INK, _PAPER, _BEHIND = (20, 20, 20), (255, 255, 255), (235, 235, 235)
_PRIVATE = 0o600


@dataclass(slots=True)
class _Row:
    seen: int = 0
    cells: list[Image.Image] = field(default_factory=list)


class ContactSheet:
    """Gathers up to ten images of each of up to forty classes, in one pass (reservoir sampling, a fixed seed)."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._draw = random.Random(0)  # noqa: S311  # which images are shown is no secret
        self._others = 0

    def take(self, label: str, cell: Callable[[], Image.Image]) -> None:
        """Take the next image of a class into account.

        Args:
            label: its class.
            cell: makes its small picture; called only if it is shown for now.
        """
        if label not in self._rows and len(self._rows) == CLASSES:
            self._others += 1
            return
        row = self._rows.setdefault(label, _Row())
        row.seen += 1
        place = len(row.cells) if len(row.cells) < PER_CLASS else self._draw.randrange(row.seen)
        if place < PER_CLASS:
            row.cells[place : place + 1] = [cell()]

    def save(self, path: Path) -> None:
        """Write the sheet as PNG, readable by its owner only.

        Raises:
            StorageError: it cannot be written.
        """
        height = max(1, len(self._rows)) * (CELL + GAP) + GAP + (20 if self._others else 0)
        sheet = Image.new("RGB", (LABEL_WIDTH + PER_CLASS * (CELL + GAP) + GAP, height), _PAPER)
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
        for number, (label, row) in enumerate(sorted(self._rows.items())):
            top = GAP + number * (CELL + GAP)
            shown = label if len(label) <= 20 else label[:19] + "..."
            pen.text((GAP, top + 32), shown, _INK, font)
            pen.text((GAP, top + 50), f"{row.seen:,} images", _INK, font)
            for column, cell in enumerate(row.cells):
                left = LABEL_WIDTH + column * (CELL + GAP)
                sheet.paste(_BEHIND, (left, top, left + CELL, top + CELL))
                sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2))
        if self._others:
            pen.text((GAP, height - 18), f"and {self._others:,} images of other classes", _INK, font)
        out = io.BytesIO()
        sheet.save(out, "PNG")
        write_whole(path, out.getvalue(), _PRIVATE)


def small(picture: Image.Image) -> Image.Image:
    """Return a picture in colour, as large as a cell holds; the pixels of a tiny one become squares."""
    coloured = picture.convert("RGBA")
    backed = Image.new("RGBA", coloured.size, _PAPER)
    backed.alpha_composite(coloured)
    cell = backed.convert("RGB")
    factor = CELL // max(cell.size)
    if factor > 1:
        return cell.resize((cell.width * factor, cell.height * factor), Image.Resampling.NEAREST)
    cell.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return cell
