"""What a safetensors file holds, read strictly and in constant memory, without numpy or torch.

Format: https://github.com/huggingface/safetensors (8 bytes of little-endian length, a JSON header, the data). The
library that loads the weights accepts more than this: repeated keys, NaN, tensors nobody asked for.
"""

import json
import math
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from severable_trust.canonical import unique_keys
from severable_trust.errors import MalformedError, StatementError

MAX_HEADER = 1 << 20  # bytes
_LENGTH_BYTES = 8
_CHUNK = 1 << 20  # bytes; a multiple of every item size

ITEM_BYTES: dict[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_EXPONENT_16 = {"F16": 0x7C00, "BF16": 0x7F80}  # all bits of the exponent; NaN and infinities have them all set
N = TypeVar("N", int, float)

_EXACT = frozenset({"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64"})  # have no NaN


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor should be: safetensors dtype name (`F32`, ...) and shape.

    Raises:
        ValueError: an unknown dtype or a negative dimension.
    """

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_BYTES or any(extent < 0 for extent in self.shape):
            raise ValueError(f"no tensor is {self.dtype}{list(self.shape)}")

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A tensor of a file: dtype, shape, and where its bytes lie, from `begin` up to but not including `end`.

    Both offsets count from the beginning of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(stream: BinaryIO, size: int) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file by name, in the order of their bytes.

    Args:
        stream: the file, seekable.
        size: its size in bytes.

    Raises:
        MalformedError: a header that is too long, not JSON, with a repeated key or more than one metadata key; an
            unknown dtype; offsets that do not fit the shape, overlap, leave a hole or do not end with the file.
    """
    header, start = _read_json(stream, size)
    _check_metadata(header.pop("__metadata__", {}))
    found = {name: _read_info(name, value, start) for name, value in header.items()}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = start
    for name, info in ordered.items():
        if info.begin != position:
            raise MalformedError(f"weights: tensor {name!r} overlaps another or leaves a hole")
        position = info.end
    if position != size:
        raise MalformedError(f"weights: tensors end at byte {position} of {size}")
    return ordered


def check_tensors(stream: BinaryIO, size: int, expected: Mapping[str, TensorSpec]) -> dict[str, TensorInfo]:
    """The tensors of a file, once they are exactly the expected ones in name, dtype and shape.

    Raises:
        MalformedError: not a safetensors file of the strict form.
        StatementError: a tensor is missing, unexpected, or of another dtype or shape; the message names it.
    """
    found = read_header(stream, size)
    for name in sorted(expected.keys() - found.keys()):
        raise StatementError(f"weights: tensor {name!r} is missing")
    for name in sorted(found.keys() - expected.keys()):
        raise StatementError(f"weights: tensor {name[:80]!r} is not in the recipe")
    for name, info in found.items():
        actual = TensorSpec(info.dtype, info.shape)
        if actual != expected[name]:
            raise StatementError(f"weights: tensor {name!r} is {actual}, expected {expected[name]}")
    return found


def check_finite(stream: BinaryIO, tensors: Mapping[str, TensorInfo]) -> None:
    """Return if no tensor holds NaN or an infinity; a megabyte is in memory at a time.

    Args:
        stream: the file, seekable.
        tensors: what `read_header` or `check_tensors` returned for it.

    Raises:
        StatementError: a tensor holds NaN or an infinity, or is of a dtype whose numbers cannot be checked.
        MalformedError: the file is shorter than its header says.
    """
    for name, info in tensors.items():
        if info.dtype in _EXACT:
            continue
        if info.dtype not in {"F32", "F64", *_EXPONENT_16}:
            raise StatementError(f"weights: tensor {name!r} is {info.dtype}, whose numbers cannot be checked")
        if not all(_chunk_is_finite(chunk, info.dtype) for chunk in _chunks(stream, info, name)):
            raise StatementError(f"weights: tensor {name!r} holds NaN or an infinity")


def _read_json(stream: BinaryIO, size: int) -> tuple[dict[str, object], int]:
    stream.seek(0)
    prefix = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    if len(prefix) != _LENGTH_BYTES or length > min(MAX_HEADER, size - _LENGTH_BYTES):
        raise MalformedError("weights: not a safetensors file, or its header is longer than a megabyte")
    data = stream.read(length)
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"weights: header is not JSON: {str(error)[:120]}") from error
    if len(data) != length or not data.startswith(b"{") or not isinstance(header, dict):
        raise MalformedError("weights: header is not a JSON object")
    return header, _LENGTH_BYTES + length


def _check_metadata(metadata: object) -> None:
    # With two keys the writing library orders them at random, and equal weights would have unequal bytes.
    if not isinstance(metadata, dict) or len(metadata) > 1 or not all(isinstance(v, str) for v in metadata.values()):
        raise MalformedError("weights: metadata is not an object of at most one text member")


def _read_info(name: str, value: object, start: int) -> TensorInfo:
    where = f"weights: tensor {name[:80]!r}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(f"{where} is not described by exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise MalformedError(f"{where} has the unknown dtype {str(dtype)[:40]!r}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise MalformedError(f"{where}: shape or data_offsets are not lists of whole numbers")
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise MalformedError(f"{where}: {dtype}{shape} does not fill the {end - begin} bytes it is given")
    return TensorInfo(dtype=dtype, shape=tuple(shape), begin=start + begin, end=start + end)


def _are_counts(value: object) -> bool:
    # bool is an int in Python: `type`, so that true is no dimension.
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _chunks(stream: BinaryIO, info: TensorInfo, name: str) -> Iterator[bytes]:
    stream.seek(info.begin)
    left = info.end - info.begin
    while left:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk or len(chunk) % ITEM_BYTES[info.dtype]:
            raise MalformedError(f"weights: file ends inside tensor {name!r}")
        left -= len(chunk)
        yield chunk


def _chunk_is_finite(chunk: bytes, dtype: str) -> bool:
    if dtype in _EXPONENT_16:
        mask = _EXPONENT_16[dtype]
        return all(bits & mask != mask for bits in set(_native(array("H", chunk))))
    if dtype == "F32":
        # Exact: a float64 sum of float32 numbers cannot overflow, and NaN and infinities carry through it.
        return math.isfinite(sum(_native(array("f", chunk))))
    return all(map(math.isfinite, _native(array("d", chunk))))


def _native(items: "array[N]") -> "array[N]":
    if sys.byteorder == "big":  # the file's numbers are little-endian
        items.byteswap()
    return items
