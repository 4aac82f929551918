"""metadata.csv and metadata.jsonl beside images: Hugging Face's imagefolder columns, read into a table on disk.

`file_name` is needed; `label`, `caption` (or `text`) and `record_id` are optional, other columns are passed over. A bad
row becomes one line with the file, the line and what to do.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from severable_client.adapters.scratch import Scratch
from severable_client.catalogue import Choice, Trouble

NAMES = ("metadata.csv", "metadata.jsonl")
MAX_LINE = 1 << 16  # characters
_FILE_NAME = "file_name"
_COLUMNS = (_FILE_NAME, "label", "caption", "text", "record_id")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says about its image; "" where it says nothing."""

    label: str
    caption: str
    record: str


class Metadata:
    """The rows of one metadata file by the image they are about.

    Args:
        path: the file.
        scratch: where the rows go.
    """

    def __init__(self, path: Path, scratch: Scratch) -> None:
        self._path = path
        self._database = scratch.database
        self._database.execute(
            "CREATE TABLE rows (file TEXT PRIMARY KEY, line INTEGER, label TEXT, caption TEXT, record TEXT,"
            " used INTEGER DEFAULT 0) WITHOUT ROWID"
        )

    def read(self) -> Iterator[Trouble]:
        """Read the whole file; yield what is wrong with it."""
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as stream:
                rows = _csv_rows(stream) if self._path.suffix == ".csv" else _json_rows(stream)
                for line, row in rows:
                    fault = row if isinstance(row, str) else self._keep(line, row)
                    if fault:
                        yield self._trouble(line, fault)
        except UnicodeDecodeError:
            yield Trouble(str(self._path), "is not UTF-8 text; save it as UTF-8")
        except OSError as error:
            yield Trouble(str(self._path), f"cannot be read ({error.strerror}); check its permissions")

    def _keep(self, line: int, row: Mapping[str, str]) -> str:
        """Keep a row; return what is wrong with it, or nothing."""
        name = row.get(_FILE_NAME, "")
        if not name:
            return "names no file; fill in file_name"
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            return f"names {name[:80]!r}, which leaves the folder; write the path below it, with /"
        caption = " ".join((row.get("caption") or row.get("text", "")).split())
        values = (str(path), row.get("label", ""), caption, row.get("record_id", ""))
        if not all(value.isprintable() for value in values):
            return "holds characters that cannot be shown; write plain text"
        done = self._database.execute(
            "INSERT OR IGNORE INTO rows (file, label, caption, record, line) VALUES (?, ?, ?, ?, ?)", (*values, line)
        )
        return "" if done.rowcount else f"names {name[:80]!r} again; keep one row for each image"

    def take(self, name: str) -> Row | None:
        """Return the row about an image, by its path below the folder, and remember that it was asked for."""
        found = self._database.execute(
            "UPDATE rows SET used = 1 WHERE file = ? RETURNING label, caption, record", (name,)
        ).fetchone()
        return None if found is None else Row(*found)

    def unused(self, choice: Choice) -> Iterator[Trouble]:
        """Yield a line for every row whose image was never asked for, unless its record was erased."""
        rows = "SELECT file, line, record FROM rows WHERE used = 0 ORDER BY line"
        for name, line, record in self._database.execute(rows):
            if choice.erased(record or name):
                continue
            yield self._trouble(line, f"names {name[:80]!r}, which is not there; add the image or remove the row")

    def _trouble(self, line: int, fault: str) -> Trouble:
        return Trouble(f"{self._path}, line {line}:", fault)


def _csv_rows(stream: TextIO) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield line number and row, or line number and fault."""
    reader = csv.reader(_bounded(stream), strict=True)
    head: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not head:
                head = [cell.strip() for cell in cells]
                if _FILE_NAME not in head:
                    yield reader.line_num, "has no column file_name; write the columns' names in the first line"
                    return
                continue
            if len(cells) != len(head):
                yield (
                    reader.line_num,
                    f"has {len(cells)} cells, the first line has {len(head)}; quote cells with commas",
                )
                continue
            yield reader.line_num, {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
    except csv.Error as error:
        yield reader.line_num, f"is no CSV ({error}); write it again"


def _json_rows(stream: TextIO) -> Iterator[tuple[int, dict[str, str] | str]]:
    for number, line in enumerate(_bounded(stream), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield number, "is no JSON; write one object a line"
            continue
        if not isinstance(row, dict):
            yield number, "is no JSON object; write one object a line"
            continue
        texts = {name: text_of(row[name]) for name in _COLUMNS if row.get(name) is not None}
        odd = [name for name, text in texts.items() if text is None]
        yield number, f"has a {odd[0]} that is no text" if odd else {name: str(text) for name, text in texts.items()}


def _bounded(stream: TextIO) -> Iterator[str]:
    """Yield lines; a longer one than anybody writes comes cut, and then is no row."""
    while line := stream.readline(MAX_LINE):
        yield line


def text_of(value: object) -> str | None:
    """Return a value of JSON as the text of a label, caption or id; None unless it is text or a whole number."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
