"""Looks at every image of a source, one at a time, and sums up what it saw."""

import hashlib
import io
import struct
import warnings
import zlib
from array import array
from collections import Counter
from collections.abc import Callable

import numpy as np
from PIL import Image, UnidentifiedImageError

from severable_client.adapters.contact_sheet import ContactSheet, small
from severable_client.adapters.scratch import Scratch
from severable_client.catalogue import SALT_BYTES, Cataloguer, ImageSource, Picture, Trouble, sub_shard
from severable_client.data_report import KEPT, DataReport
from severable_client.errors import DataFolderError
from severable_client.likeness import GRID, NearPairs, difference_hash, near_pairs

MAX_PIXELS = 1 << 26  # of one image
_UNDECODABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)

OnImage = Callable[[int, int], None]  # looked at so far, and how many there are by their names


class _Look:
    """What is kept of the images while they go by: about 100 bytes each; places and digests are on disk."""

    def __init__(self, scratch: Scratch, salt: bytes, sheet: ContactSheet | None, sub_shards: int) -> None:
        self.cataloguer = Cataloguer(salt)
        self.parts = [0] * sub_shards
        self._salt = salt
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.modes: Counter[str] = Counter()
        self.troubles: list[Trouble] = []
        self.troubles_total = 0
        self.bytes = 0
        self._images = 0
        self._hashes, self._cells = array("Q"), bytearray()
        self._sheet = sheet
        self._database = scratch.database
        self._database.execute("CREATE TABLE images (row INTEGER PRIMARY KEY, place TEXT, content BLOB)")

    def take(self, found: Picture | Trouble) -> None:
        """Look at one image, or note that it is none."""
        if isinstance(found, Picture):
            try:
                self._picture(found)
            except DataFolderError as error:
                found = Trouble(found.record.place, str(error))
        if isinstance(found, Trouble):
            self.troubles_total += 1
            if len(self.troubles) < KEPT:
                self.troubles.append(found)

    def _picture(self, found: Picture) -> None:
        picture = decoded(found.content)
        grey = picture.convert("L")
        cells_99 = np.asarray(grey.resize((GRID, GRID), Image.Resampling.BOX))
        content = hashlib.sha256(found.content).digest()
        place = found.record.place.encode("utf-8", "replace").decode()  # a folder's name may be no text
        self._database.execute("INSERT INTO images VALUES (?, ?, ?)", (self._images, place, content))
        self._hashes.extend(difference_hash(cells_99))
        self._cells += cells_99.tobytes()
        self._images += 1
        self.cataloguer.add(found.record.label, content)
        self.sizes[picture.size] += 1
        self.modes[picture.mode] += 1
        if self.parts:
            self.parts[sub_shard(self._salt, found.record.record, len(self.parts))] += 1
        self.bytes += len(found.content)
        if self._sheet is not None:
            self._sheet.take(found.record.label, lambda: small(picture))

    def exact(self) -> tuple[tuple[tuple[str, ...], ...], int]:
        """Return groups of places that hold the same bytes, and how many images repeat another's."""
        self._database.execute("CREATE INDEX by_content ON images (content, row)")
        repeated = "SELECT content FROM images GROUP BY content HAVING COUNT(*) > 1"
        total = self._database.execute("SELECT COUNT(*) - COUNT(DISTINCT content) FROM images").fetchone()[0]
        groups = [
            tuple(
                place
                for (place,) in self._database.execute(
                    "SELECT place FROM images WHERE content = ? ORDER BY row LIMIT ?", (content, KEPT)
                )
            )
            for (content,) in self._database.execute(f"{repeated} ORDER BY MIN(row) LIMIT ?", (KEPT,)).fetchall()
        ]
        return tuple(groups), total

    def near(self) -> tuple[tuple[tuple[str, str, int], ...], NearPairs]:
        """Return the places of pairs that look alike; of images with the same bytes only the first is compared."""
        rows = "SELECT MIN(row) FROM images GROUP BY content ORDER BY 1"
        row_N = np.fromiter((row for (row,) in self._database.execute(rows)), np.int64)
        hash_N2 = np.frombuffer(self._hashes, np.uint64).reshape(-1, 2)[row_N]
        cell_N99 = np.frombuffer(self._cells, np.uint8).reshape(-1, GRID, GRID)[row_N]
        found = near_pairs(hash_N2, cell_N99)
        shown = tuple(
            (self._place(int(row_N[one])), self._place(int(row_N[two])), bits) for one, two, bits in found.pairs[:KEPT]
        )
        return shown, found

    def _place(self, row: int) -> str:
        return str(self._database.execute("SELECT place FROM images WHERE row = ?", (row,)).fetchone()[0])


def check(
    source: ImageSource,
    folder: str,
    salt: bytes | None,
    on_image: OnImage,
    sheet: ContactSheet | None = None,
    *,
    sub_shards: int = 0,
) -> DataReport:
    """Return what a source holds; nothing is changed.

    Args:
        source: the images.
        folder: where they are, for people.
        salt: the home's secret, or None where there is no home: then there is no digest.
        on_image: called after each image.
        sheet: takes a few of the images, or None.
        sub_shards: over how many sub-shards the records are divided to tell their sizes; 0 tells none.

    Raises:
        DataFolderError: a folder cannot be read.
    """
    total = source.count()
    with Scratch() as scratch:
        look = _Look(scratch, salt or bytes(SALT_BYTES), sheet, sub_shards)
        for done, found in enumerate(source.scan(), 1):
            look.take(found)
            on_image(done, total)
        catalogue = look.cataloguer.finish()
        exact, exact_total = look.exact()
        near, pairs = look.near()
    return DataReport(
        folder=folder,
        images=catalogue.images,
        bytes=look.bytes,
        classes=catalogue.classes,
        sizes=tuple(look.sizes.most_common()),
        modes=tuple(look.modes.most_common()),
        troubles=tuple(look.troubles),
        troubles_total=look.troubles_total,
        exact=exact,
        exact_total=exact_total,
        near=near,
        near_total=len(pairs.pairs),
        near_complete=pairs.complete,
        digest=None if salt is None else catalogue,
        sub_shards=tuple(look.parts),
    )


def decoded(content: bytes) -> Image.Image:
    """Return a picture, decoded whole.

    Raises:
        DataFolderError: it is none, is damaged, or has too many pixels; those are counted before it is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
        pixels = picture.width * picture.height
        if pixels <= MAX_PIXELS:
            picture.load()
            return picture
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pixels = MAX_PIXELS + 1
    except _UNDECODABLE as error:
        raise DataFolderError("cannot be read as PNG, JPEG or WebP; replace or remove it") from error
    raise DataFolderError(f"has more than {MAX_PIXELS >> 20} million pixels; scale it down")
