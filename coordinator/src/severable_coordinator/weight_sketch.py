"""One-way sketches of weights: enough to know a removed shard again, far too little to rebuild one. Pure.

A sketch is 1024 bits, whatever the network's size. It is the SimHash of Charikar (STOC 2002, "Similarity estimation
techniques from rounding algorithms") of the *signs* of the weights:

    s        the sign of every weight, -1, 0 or 1, less its tensor's mean. So a tensor that training starts at one value
             (norms at 1, biases at 0) adds nothing that all shards of a recipe would share; no single weight counts for
             more than another, whatever one flipped bit makes of it; and scaling the weights changes nothing.
    y_j      sum over all weights of s times a random sign, j = 1 ... 1024. The signs are Rademacher, drawn from
             SHAKE-256 of a secret key, the tensor's name and the weight's place: not known to a party, and not hanging
             on the order in which a file holds its tensors.
    bit j    whether y_j > 0

All y_j come at the price of one: with z_i the signed sum over the weights at places i, i + 1024, i + 2048, ... the
Hadamard transform of z under a second set of signs has in each row independent signs over all weights. Time grows with
the weights, memory does not.

**Law of the distance.** Let c be the cosine between the s of two shards, and the number of weights large, so that
(y_j, y'_j) is bivariate normal (central limit theorem). Then a bit differs with probability p = arccos(c) / pi (Goemans
and Williamson, JACM 1995, lemma 3.2), the number of differing bits D is close to Binomial(1024, p), and
cos(pi D / 1024) estimates c; at c = 0 with a standard deviation of 0.049. Weights whose values are jointly normal with
correlation r have c = 2 arcsin(r) / pi; noise of half the weights' own size (r = 0.894) leaves c = 0.70, of their own
size c = 0.50.

**Law of the two errors.** D <= 341, an angle of 60 degrees (c = 1/2), counts as the same shard. Two shards with c = 0
are taken for one another with probability below exp(-2 * 1024 * (1/2 - 1/3)^2) = 2e-25 (Hoeffding); with c = 0.2 below
5e-10. A copy with c = 0.75 gets through with probability below 4e-10, one with c = 0.9 below 1e-31. What c is for
trainings that have nothing to do with one another is measured, not assumed: benchmarks/tombstone_sketch.py.

**What it tells.** At most 1024 bits of information about the weights, under signs that only the key knows. Who holds
sketch, key and a candidate can ask whether the candidate is the removed shard: that is what it is for, and all of it.

**What it does not see.** A network with its channels reordered computes the same and has another sketch; so has one
that was trained on until half of its signs' correlation is gone.
"""

import hashlib
import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from severable_trust.errors import MalformedError
from severable_trust.tensors import TensorInfo, read_header

BITS = 1024
KEY_BYTES = 32
SAME = BITS // 3  # bits that may differ between a shard and a copy of it: an angle of 60 degrees

_STRETCH = 1 << 17  # weights that one stream of signs serves
_AT_ONCE = 1 << 20  # bytes, whole stretches of every dtype: few calls into numpy, each of which gives the GIL away
_LENGTH_BYTES = 8  # of the number before a safetensors header
_FLOATS = {"F16": "<i2", "BF16": "<i2", "F32": "<i4", "F64": "<i8"}  # read as whole numbers: the first bit is the sign

Bits = npt.NDArray[np.uint8]  # 0 or 1


@dataclass(frozen=True, slots=True)
class WeightSketch:
    """The sketch of one shard's weights.

    Attributes:
        key: names the key under which it was made; sketches of two keys say nothing about one another.
        bits: 128 bytes.
    """

    key: str
    bits: bytes

    def differing(self, other: "WeightSketch") -> int:
        """Bits that differ, 0 to 1024. ValueError for sketches under two keys."""
        if self.key != other.key:
            raise ValueError(f"sketches under two keys ({self.key}, {other.key}) cannot be compared")
        return (int.from_bytes(self.bits, "big") ^ int.from_bytes(other.bits, "big")).bit_count()

    def likeness(self, other: "WeightSketch") -> float:
        """The estimated cosine between the signs of the weights, -1 to 1."""
        return math.cos(math.pi * self.differing(other) / BITS)

    def is_of_same_weights(self, other: "WeightSketch") -> bool:
        """Whether these are the same weights, or hardly changed ones."""
        return self.differing(other) <= SAME


def key_id(key: bytes) -> str:
    """Name a key without revealing it: 16 hexadecimal digits."""
    return hashlib.sha256(b"severable sketch key" + key).hexdigest()[:16]


class Sketching:
    """Takes a safetensors file block by block, in order, in constant memory.

    Law: the sketch does not depend on where the blocks are cut, nor on the order of the tensors in the file.

    Args:
        key: the coordinator's secret for sketches.
        size: the size of the file in bytes.
    """

    def __init__(self, key: bytes, size: int) -> None:
        self._key, self._size = key, size
        self._sum_B = np.zeros(BITS)
        self._head = b""
        self._coming: list[tuple[str, TensorInfo]] | None = None  # the last one first; None until the header is there
        self._tensor: _Tensor | None = None

    def feed(self, block: bytes) -> None:
        """Take the bytes that follow. What is no safetensors file is taken in silence: its verifier refuses it."""
        if self._coming is None:
            self._head += block
            if len(self._head) < self._header_bytes():
                return
            block, self._head = self._head[self._header_bytes() :], self._head[: self._header_bytes()]
            self._begin()
        rest = memoryview(block)
        while self._tensor is not None and (rest or not self._tensor.left):
            taken = min(len(rest), self._tensor.left)
            self._tensor.take(rest[:taken])
            rest = rest[taken:]
            if not self._tensor.left:
                self._sum_B += self._tensor.centred_B()
                self._next()

    def sketch(self) -> WeightSketch:
        """The sketch of what was taken."""
        signs_B = 2.0 * _stream(self._key, "the rows of Hadamard", 0, BITS) - 1.0
        y_B = _hadamard(self._sum_B * signs_B)
        return WeightSketch(key_id(self._key), np.packbits(y_B > 0).tobytes())

    def _header_bytes(self) -> int:
        if len(self._head) < _LENGTH_BYTES:
            return _LENGTH_BYTES
        return min(_LENGTH_BYTES + int.from_bytes(self._head[:_LENGTH_BYTES], "little"), self._size)

    def _begin(self) -> None:
        try:
            self._coming = list(read_header(io.BytesIO(self._head), self._size).items())[::-1]
        except MalformedError:
            self._coming = []
        self._next()

    def _next(self) -> None:
        self._tensor = _Tensor(self._key, *self._coming.pop()) if self._coming else None


class _Tensor:
    """One tensor's part of the sums.

    Attributes:
        left: bytes that are still to come.
    """

    def __init__(self, key: bytes, name: str, info: TensorInfo) -> None:
        self._key, self._name, self._dtype = key, name, info.dtype
        self._signed_B = np.zeros(BITS, np.int64)  # of sign times random sign
        self._bare_B = np.zeros(BITS, np.int64)  # of the random signs alone
        self._total = self._count = 0
        self.left = info.end - info.begin
        self._room = memoryview(bytearray(min(_AT_ONCE, self.left)))
        self._filled = 0

    def take(self, data: memoryview) -> None:
        """Take bytes that follow; they wait until the room is full, or the tensor ends."""
        self.left -= len(data)
        while data:
            piece, data = data[: len(self._room) - self._filled], data[len(self._room) - self._filled :]
            self._room[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            if self._filled == len(self._room) or not (data or self.left):
                self._add(self._room[: self._filled])
                self._filled = 0

    def _add(self, data: memoryview) -> None:
        """Every product of a weight's sign with its random sign is 2x - 1, where x says whether their bits differ."""
        if self._dtype not in _FLOATS:
            return
        numbers_N = np.frombuffer(data, _FLOATS[self._dtype])
        negative_N = (numbers_N < 0).view(np.uint8)
        drawn_N = _stream(self._key, self._name, self._count // _STRETCH, len(numbers_N))
        differs_N, places_B = negative_N ^ drawn_N, _places(len(numbers_N))
        counted_B = places_B
        if _has_zeros(numbers_N):
            counted_N = ((numbers_N & np.iinfo(numbers_N.dtype).max) != 0).view(np.uint8)
            differs_N, negative_N, counted_B = differs_N & counted_N, negative_N & counted_N, _folded(counted_N)
        self._signed_B += 2 * _folded(differs_N) - counted_B
        self._bare_B += 2 * _folded(drawn_N) - places_B
        self._total += int(counted_B.sum()) - 2 * int(np.count_nonzero(negative_N.view(np.bool_)))
        self._count += len(numbers_N)

    def centred_B(self) -> npt.NDArray[np.float64]:
        """The signed sums with the tensor's mean sign taken off every weight: the sums are linear."""
        mean = self._total / self._count if self._count else 0.0
        return self._signed_B - mean * self._bare_B


def _has_zeros(numbers_N: npt.NDArray[np.signedinteger]) -> bool:
    """Whether there are zeros of either sign; -0.0 has the bits of the least whole number."""
    return bool(np.count_nonzero(numbers_N) < len(numbers_N) or numbers_N.min() == np.iinfo(numbers_N.dtype).min)


def _stream(key: bytes, name: str, stretch: int, count: int) -> Bits:
    """Random signs of a tensor's weights, from the beginning of a stretch on: 1 for +1, 0 for -1."""
    named, wanted, drawn = key + hashlib.sha256(name.encode()).digest(), -(-count // 8), list[bytes]()
    for number in range(-(-count // _STRETCH)):
        seed = named + (stretch + number).to_bytes(8, "big")
        drawn.append(hashlib.shake_256(seed).digest(min(wanted - number * _STRETCH // 8, _STRETCH // 8)))
    return np.unpackbits(np.frombuffer(b"".join(drawn), np.uint8), count=count)


def _folded(bits_N: Bits) -> npt.NDArray[np.int64]:
    """Sums over the places i, i + BITS, i + 2 BITS, ...; of one stretch's 128 in bytes, which can hold them."""
    folded_B = np.zeros(BITS, np.int64)
    for begin in range(0, len(bits_N), _STRETCH):
        part_N = bits_N[begin : begin + _STRETCH]
        whole = len(part_N) // BITS * BITS
        folded_B += part_N[:whole].reshape(-1, BITS).sum(axis=0, dtype=np.uint8)
        folded_B[: len(part_N) - whole] += part_N[whole:]
    return folded_B


def _places(count: int) -> npt.NDArray[np.int64]:
    """What `_folded` makes of so many ones."""
    return (count + BITS - 1 - np.arange(BITS)) // BITS


def _hadamard(z_B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Walsh-Hadamard transform, unscaled."""
    half = 1
    while half < BITS:
        pairs = z_B.reshape(-1, 2, half)
        z_B = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1).reshape(BITS)
        half *= 2
    return z_B
