"""What a safetensors file says it holds, read strictly, without numpy or torch.

Format: https://github.com/huggingface/safetensors (8 bytes of little-endian length, a JSON header, the data). The
library that loads the weights accepts more than this: repeated keys, NaN, tensors nobody asked for.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from severable_trust.canonical import unique_keys
from severable_trust.errors import MalformedError, StatementError

MAX_HEADER = 1 << 20  # bytes
MAX_RANK = 64  # dimensions; multiplying a million of them would take seconds
LENGTH_BYTES = 8  # of the header's own length, which comes first
_MAX_COUNT = 1 << 63  # no file is that long; and Python refuses to print far longer numbers

ITEM_BYTES: dict[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


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
        stream: the file, at its beginning; its header is read and nothing after it.
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


def require_tensors(found: Mapping[str, TensorInfo], expected: Mapping[str, TensorSpec]) -> None:
    """Return if the tensors of a file are exactly the expected ones in name, dtype and shape.

    Raises:
        StatementError: a tensor is missing, unexpected, or of another dtype or shape; the message names it.
    """
    for name in sorted(expected.keys() - found.keys()):
        raise StatementError(f"weights: tensor {name!r} is missing")
    for name in sorted(found.keys() - expected.keys()):
        raise StatementError(f"weights: tensor {name[:80]!r} is not in the recipe")
    for name, info in found.items():
        actual = TensorSpec(info.dtype, info.shape)
        if actual != expected[name]:
            raise StatementError(f"weights: tensor {name!r} is {actual}, expected {expected[name]}")


def _read_json(stream: BinaryIO, size: int) -> tuple[dict[str, object], int]:
    prefix = stream.read(LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    if len(prefix) != LENGTH_BYTES or length > min(MAX_HEADER, size - LENGTH_BYTES):
        raise MalformedError("weights: not a safetensors file, or its header is longer than a megabyte")
    data = stream.read(length)
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"weights: header is not JSON: {str(error)[:120]}") from error
    if len(data) != length or not data.startswith(b"{") or not isinstance(header, dict):
        raise MalformedError("weights: header is not a JSON object")
    return header, LENGTH_BYTES + length


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
    if len(shape) > MAX_RANK:
        raise MalformedError(f"{where}: has {len(shape)} dimensions, at most {MAX_RANK} are accepted")
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise MalformedError(f"{where}: {dtype}{shape} does not fill the {end - begin} bytes it is given")
    return TensorInfo(dtype=dtype, shape=tuple(shape), begin=start + begin, end=start + end)


def _are_counts(value: object) -> bool:
    # bool is an int in Python: `type`, so that true is no dimension.
    return isinstance(value, list) and all(type(item) is int and 0 <= item < _MAX_COUNT for item in value)
