"""Finds records in a data folder by their ids or by their files, opening no image of a folder."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.files import storage
from severable_client.catalogue import Choice, ImageRecord, place, record_hash
from severable_client.errors import DataFolderError

MAX_LIST_BYTES = 1 << 28
SHOWN = 50  # unknown records in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Records that were asked for; their names are for the owner's terminal alone.

    Attributes:
        hashes: of the records, in the order of reading.
        places: where their images are, none for a record whose images are gone already.
    """

    hashes: tuple[bytes, ...]
    places: tuple[str, ...]


class _Looking(Choice):
    """Shows every record to somebody and has none of them read."""

    def __init__(self, look: Callable[[ImageRecord], None]) -> None:
        self._look = look

    def takes(self, record: ImageRecord) -> bool:
        self._look(record)
        return False


def find_records(folder: Path, given: Sequence[str], salt: bytes, erased: Iterable[bytes], *, gone: bool) -> Found:
    """Return the records that have these ids or files.

    Args:
        folder: the data folder.
        given: ids of records, or paths of images from here or from the data folder.
        salt: the home's secret.
        erased: hashes of the records that were erased before; they may be named again.
        gone: whether ids that the folder does not have are taken as they are, for images removed before.

    Raises:
        DataFolderError: the folder cannot be read, or does not have one of them; all such are named.
    """
    by_path = {(base / name).resolve(): name for base in (Path(), folder) for name in given if name.isprintable()}
    root, shown = folder.resolve(), f"{folder}{os.sep}"
    asked, met, ids = set(given), set[str](), dict[str, None]()

    def match(record: ImageRecord) -> None:
        path = by_path.get(root / record.place.removeprefix(shown))
        for name in ({record.record} & asked) | ({path} if path is not None else set()):
            met.add(name)
            ids[record.record] = None

    _look(folder, match)
    missing = [name for name in dict.fromkeys(given) if name not in met]
    before = frozenset(erased)
    known = {name for name in missing if gone or record_hash(salt, name) in before}
    if unknown := [name for name in missing if name not in known]:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise DataFolderError(
            f"{folder} has no record or image {', '.join(map(repr, unknown[:SHOWN]))}{more}; nothing was erased (for"
            " images that you removed before, give their record ids and --gone)"
        )
    places: list[str] = []
    _look(folder, lambda record: places.append(record.place) if record.record in ids else None)
    hashes = [record_hash(salt, name) for name in (*ids, *(name for name in missing if name in known))]
    return Found(hashes=tuple(hashes), places=tuple(places))


def count_remaining(folder: Path, salt: bytes, erased: Iterable[bytes], count: int) -> Counter[int]:
    """Return how many images each of `count` sub-shards has, without the erased records; no image is opened."""
    sizes, left_out = Counter[int](dict.fromkeys(range(count), 0)), frozenset(erased)

    def add(record: ImageRecord) -> None:
        hashed = record_hash(salt, record.record)
        if hashed not in left_out:
            sizes[place(hashed, count)] += 1

    _look(folder, add)
    return sizes


def read_list(path: Path) -> list[str]:
    """Return the records that a file names, one a line, empty lines left out. StorageError, DataFolderError."""
    with storage(f"{path} cannot be read"):
        data = path.read_bytes()
    if len(data) > MAX_LIST_BYTES:
        raise DataFolderError(f"{path} has more than {MAX_LIST_BYTES >> 20} MiB; divide the list")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataFolderError(f"{path} is not UTF-8 text; save it as UTF-8, one record a line") from error
    return [line.strip() for line in lines if line.strip()]


def _look(folder: Path, look: Callable[[ImageRecord], None]) -> None:
    for _ in open_source(folder, _Looking(look)).scan():
        continue  # what is no usable image is `data check`'s business
