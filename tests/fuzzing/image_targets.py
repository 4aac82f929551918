"""The parsers of what an owner's data folder holds: archives, metadata, images."""

import atexit
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from client.image_sets import archive, png
from fuzzing.law import Target

from severable_client.adapters.data_check import decoded
from severable_client.adapters.data_folder import open_source
from severable_client.catalogue import Trouble
from severable_client.errors import ClientError, DataFolderError


@cache
def _folder(name: str) -> Path:
    """A folder for as long as this process lives; one image in it, but for archives."""
    home = TemporaryDirectory()
    atexit.register(home.cleanup)
    folder = Path(home.name) / name
    folder.mkdir()
    if not name.endswith(".tar"):
        (folder / "a.png").write_bytes(png())
    return folder


def _as(name: str) -> Callable[[bytes], object]:
    """A reading of these bytes as this file of a data folder; the first trouble is its error."""

    def read(data: bytes) -> object:
        folder = _folder(name)
        (folder / name).write_bytes(data)
        open_source(folder).count()
        found = list(open_source(folder).scan())
        for entry in found:
            if isinstance(entry, Trouble):
                raise DataFolderError(str(entry))
        return found

    return read


def _archives() -> tuple[bytes, ...]:
    said = b'{"label": "cat", "caption": "a cat", "record_id": "7"}'
    return (
        archive([("a.png", png()), ("a.cls", b"7"), ("a.txt", b"a cat"), ("b.png", png(1)), ("b.json", said)]),
        archive([(f"{'long' * 40}/a.png", png())], form=1),
        archive([(f"{'long' * 60}/\u00e4.png", png())], form=2),
    )


TARGETS = (
    Target(name="tar-archive", read=_as("set.tar"), errors=(ClientError,), seeds=_archives),
    Target(
        name="metadata-csv",
        read=_as("metadata.csv"),
        errors=(ClientError,),
        seeds=lambda: (b'file_name,label,caption,record_id\na.png,cat,"a cat, sitting",7\n', b"file_name\na.png\n"),
    ),
    Target(
        name="metadata-jsonl",
        read=_as("metadata.jsonl"),
        errors=(ClientError,),
        seeds=lambda: (b'{"file_name": "a.png", "label": 3, "text": "a cat"}\n', b'{"file_name": "a.png"}'),
    ),
    Target(name="image-file", read=decoded, errors=(ClientError,), seeds=lambda: (png(), png(1, mode="RGB"))),
)
