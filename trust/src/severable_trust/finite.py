"""Whether every number of a safetensors file is finite, looked at while its bytes pass by; standard library alone.

Who has numpy at hand may look at the numbers with that (`Look`): it is for speed, never for another judgement.

NaN and the infinities have every bit of the exponent set, so the last byte of a little-endian number already tells
them from all but the largest finite ones. Those bytes are cut out and searched at C speed; only a block in which one
is suspicious is read number by number. Trained weights have none: 0.4 ns a byte where summing floats took 1.5.
"""

import math
import sys
from array import array
from collections.abc import Callable, Mapping
from typing import TypeVar

from severable_trust.tensors import ITEM_BYTES, TensorInfo

N = TypeVar("N", int, float)

_EXACT = frozenset({"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64"})  # have no NaN
_EXPONENT_16 = {"F16": 0x7C00, "BF16": 0x7F80}  # all bits of the exponent
_WIDE = (b"\x7f", b"\xff")  # last bytes in which the exponent may be full: eight bits of it or more
_MARKS = {
    "F64": _WIDE,
    "F32": _WIDE,
    "BF16": _WIDE,
    "F16": tuple(bytes([sign | 0x7C | low]) for sign in (0, 0x80) for low in range(4)),  # five bits of exponent
}
_LONGEST = max(ITEM_BYTES.values())

Look = Callable[[str, bytes, int, int], bool]


def all_finite(dtype: str, block: bytes, begin: int, end: int) -> bool:
    """Say whether all numbers in a part of a block are finite.

    Args:
        dtype: F64, F32, F16 or BF16; the numbers are little-endian.
        block: where they lie.
        begin: where the first one begins.
        end: where the last one ends; there may be none.
    """
    item = ITEM_BYTES[dtype]
    last_bytes = block[begin + item - 1 : end : item]
    if not any(mark in last_bytes for mark in _MARKS[dtype]):
        return True
    return _is_finite(block[begin:end], dtype)


def _is_finite(data: bytes, dtype: str) -> bool:
    if dtype in _EXPONENT_16:
        mask = _EXPONENT_16[dtype]
        return all(bits & mask != mask for bits in set(_native(array("H", data))))
    if dtype == "F32":
        # Exact: a float64 sum of float32 numbers cannot overflow, and NaN and infinities carry through it.
        return math.isfinite(sum(_native(array("f", data))))
    return all(map(math.isfinite, _native(array("d", data))))


def _native(items: "array[N]") -> "array[N]":
    if sys.byteorder == "big":  # the file's numbers are little-endian
        items.byteswap()
    return items


class FinitenessCheck:
    """Takes the data of a file block by block, in order, and remembers the first tensor that is not finite.

    Law: what it says does not depend on where the blocks are cut.

    Args:
        tensors: what `tensors.read_header` returned: in the order of their bytes, without holes.
        look: what says of whole numbers whether all are finite; see `all_finite`.

    Attributes:
        problem: one line that names the first tensor with NaN or an infinity, or of a dtype that cannot be checked;
            empty while there is none.
    """

    def __init__(self, tensors: Mapping[str, TensorInfo], look: Look = all_finite) -> None:
        self._look = look
        self._tensors = list(tensors.items())
        self._next = 0
        self._at = self._tensors[0][1].begin if self._tensors else 0  # file offset of the next block
        self._tail = b""  # the last bytes before it: a number may lie across two blocks
        self.problem = ""

    def feed(self, block: bytes) -> None:
        """Look at the bytes that follow on those of the call before; the first ones follow on the header."""
        end = self._at + len(block)
        while self._next < len(self._tensors):
            name, info = self._tensors[self._next]
            if info.begin >= end:
                break
            if not self.problem and info.dtype not in _EXACT:
                self.problem = self._judge(name, info, block, min(info.end, end) - self._at)
            if info.end > end:
                break
            self._next += 1
        self._tail = (self._tail + block)[-_LONGEST:] if len(block) < _LONGEST else block[-_LONGEST:]
        self._at = end

    def _judge(self, name: str, info: TensorInfo, block: bytes, end: int) -> str:
        """Look at a tensor's part of a block: at the number that began in the block before, and at all that follow."""
        if info.dtype not in _MARKS:
            return f"weights: tensor {name!r} is {info.dtype}, whose numbers cannot be checked"
        item = ITEM_BYTES[info.dtype]
        begin = max(info.begin - self._at, 0)
        begun = (self._at + begin - info.begin) % item  # bytes of the first number that were in the block before
        first = min(begin + item - begun, end) if begun else begin
        across = self._tail[-begun:] + block[begin:first] if begun else b""
        stop = end - (end - first) % item
        if self._look(info.dtype, across, 0, len(across) // item * item) and self._look(info.dtype, block, first, stop):
            return ""
        return f"weights: tensor {name!r} holds NaN or an infinity"
