"""Images as Hugging Face's imagefolder has them: a folder, subfolders as classes, metadata.csv or .jsonl beside them.

One subfolder per class, or a flat folder, which is one class of the folder's name. A label in the metadata goes before
the folder's name. Whatever is no image is named, never passed over; only hidden entries are.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from severable_client.adapters.metadata import NAMES, Metadata, Row
from severable_client.adapters.scratch import Scratch
from severable_client.catalogue import EVERYTHING, Choice, ImageRecord, Picture, Trouble
from severable_client.errors import DataFolderError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_FILE_BYTES = 1 << 26  # of one image
_NO_ROW = Row("", "", "")
_UNREADABLE = "cannot be read; check its permissions"


class ImageFolder:
    """An `ImageSource` over a folder. Names of one class are held in memory, and one image.

    Args:
        folder: the folder.
        choice: which of its records are read.
    """

    def __init__(self, folder: Path, choice: Choice = EVERYTHING) -> None:
        self._folder = folder
        self._choice = choice

    def count(self) -> int:
        """Return how many files are images by their names.

        Raises:
            DataFolderError: a folder cannot be read.
        """
        entries = _listed(self._folder)
        classes = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        return sum(is_image(entry.name) for folder in classes for entry in _listed(folder)) + sum(
            is_image(entry.name) for entry in entries if entry not in classes
        )

    def scan(self) -> Iterator[Picture | Trouble]:
        """Yield every image, ordered by class folder and name, and every trouble where it is met."""
        try:
            entries = _listed(self._folder)
        except DataFolderError:
            yield Trouble(str(self._folder), _UNREADABLE)
            return
        with Scratch() as scratch:
            named = [entry for entry in entries if entry.name in NAMES]
            if len(named) > 1:
                yield Trouble(named[1].path, f"lies beside {named[0].name}; keep one of the two")
            metadata = Metadata(Path(named[0].path), scratch) if named else None
            if metadata is not None:
                yield from metadata.read()
            yield from self._walk([entry for entry in entries if entry not in named], metadata)
            if metadata is not None:
                yield from metadata.unused(self._choice)

    def _walk(self, entries: "list[os.DirEntry[str]]", metadata: Metadata | None) -> Iterator[Picture | Trouble]:
        classes = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        if not classes:
            yield from self._images(entries, self._folder.absolute().name, metadata)
            return
        for entry in entries:
            if entry.is_symlink():
                yield Trouble(entry.path, "is a link; copy the file or folder itself here")
            elif entry not in classes:
                yield Trouble(entry.path, "lies beside class folders; move it into one of them or remove it")
        for folder in classes:
            try:
                files = _listed(folder)
            except DataFolderError:
                yield Trouble(folder.path, _UNREADABLE)
                continue
            if not files:
                yield Trouble(folder.path, "is an empty class; add images or remove the folder")
            yield from self._images(files, folder.name, metadata)

    def _images(
        self, entries: "list[os.DirEntry[str]]", label: str, metadata: Metadata | None
    ) -> Iterator[Picture | Trouble]:
        for entry in entries:
            fault = _fault(entry)
            name = Path(entry.path).relative_to(self._folder).as_posix()
            row = metadata.take(name) if metadata is not None and name.isprintable() else _NO_ROW
            if not fault and row is None:
                fault = "has no row in the metadata; add one or remove the file"
            if fault or row is None:
                yield Trouble(entry.path, fault)
                continue
            try:
                record = ImageRecord(
                    record=row.record or name, label=row.label or label, caption=row.caption, place=entry.path
                )
                if self._choice.takes(record):
                    yield Picture(record, Path(entry.path).read_bytes())
            except DataFolderError as error:
                yield Trouble(entry.path, str(error))
            except OSError as error:
                yield Trouble(entry.path, f"cannot be read ({error.strerror}); check its permissions")


def is_image(name: str) -> bool:
    """Return whether a file is an image by its name."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _fault(entry: "os.DirEntry[str]") -> str:
    """Return why an entry of a class is no image to be read, or nothing."""
    if entry.is_symlink():
        return "is a link; copy the file or folder itself here"
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return f"cannot be read ({error.strerror}); check its permissions"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file; a class folder holds images only"
    if entry.name in NAMES:
        return "lies in a class folder; put it beside the class folders"
    return _unfit(entry.name, status.st_size)


def _unfit(name: str, size: int) -> str:
    if not is_image(name):
        return f"is no image by its name; only {', '.join(SUFFIXES)} are read, remove it"
    if size > MAX_FILE_BYTES:
        return f"has {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20}; make it smaller or remove it"
    return ""


def _listed(folder: "Path | os.DirEntry[str]") -> "list[os.DirEntry[str]]":
    """Return a folder's entries by name, without hidden ones.

    Raises:
        DataFolderError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataFolderError(f"{os.fspath(folder)} {_UNREADABLE}") from error
