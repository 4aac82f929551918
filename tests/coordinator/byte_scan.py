"""Looks for somebody's bytes in everything below a directory: database, write-ahead log, vault, leftovers, logs.

What is looked for is taken before it is erased: pieces of the plain weights, spread over all of them, and the data key,
as bytes and as the text in which it lies in its file. Names and ids are not looked for: tombstones keep ids.
"""

import base64
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PIECE = 16  # bytes of a piece
_EVERY = 256  # bytes from one piece to the next
_MIN_VALUES = 8  # different bytes that a piece needs: sixteen zeros are nobody's
_KEY_BYTES = 32


@dataclass(frozen=True)
class Secret:
    """Bytes that must not be found.

    Attributes:
        what: how a report names them.
        data: the bytes.
    """

    what: str
    data: bytes


def of_weights(whose: str, file: bytes) -> list[Secret]:
    """Pieces of a safetensors file's numbers, from the first to the last."""
    start = 8 + struct.unpack("<Q", file[:8])[0]
    places = [*range(start, len(file) - PIECE, _EVERY), len(file) - PIECE]
    pieces = [(place, file[place : place + PIECE]) for place in places]
    return [Secret(f"weights of {whose} at {at}", piece) for at, piece in pieces if len(set(piece)) >= _MIN_VALUES]


def of_key(whose: str, keyset: bytes) -> list[Secret]:
    """A tink keyset's key: its text, the bytes that the text stands for, and the bare key at their end."""
    found = []
    for key in json.loads(keyset)["key"]:
        text = key["keyData"]["value"]
        raw = base64.b64decode(text)
        found += [Secret(f"data key of {whose}, {how}", data) for how, data in (
            ("text", text.encode()), ("bytes", raw), ("bare", raw[-_KEY_BYTES:]),
        )]  # fmt: skip
    return found


def found_in(directory: Path, secrets: Iterable[Secret]) -> list[str]:
    """One line for every file that holds a secret, and its first secret; empty is as it must be."""
    wanted = list(secrets)
    return [
        f"{path.relative_to(directory)}: {first.what}" for path in _files(directory) for first in _first(path, wanted)
    ]


def _files(directory: Path) -> Iterator[Path]:
    yield from (path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink())


def _first(path: Path, secrets: list[Secret]) -> list[Secret]:
    data = path.read_bytes()
    return next(([secret] for secret in secrets if secret.data in data), [])
