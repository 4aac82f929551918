"""One pass over a weights file: read once, judged as independent code judges it, wherever its blocks are cut."""

import io
import itertools
import json
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from trust.shard_data import safetensors, weights, with_header

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.finite import FinitenessCheck
from severable_trust.tensors import ITEM_BYTES, TensorInfo, TensorSpec, read_header
from severable_trust.weights import WeightsFile, WeightsScan, scan_weights

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SPECIAL = [0.0, -1.5, 3.4e38, 65504.0, 1e308, float("nan"), float("inf"), float("-inf")]


class Counting(io.RawIOBase):
    """A stream that counts what is read and cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.read_bytes = 0
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        data = self._data.read(size)
        self.read_bytes += len(data)
        self.largest = max(self.largest, len(data))
        return data

    def seek(self, *_: object) -> int:
        raise AssertionError("the weights are read once")


def of_bits(dtype: str, raw: bytes, lead: int = 0) -> bytes:
    """A file of one tensor with these bytes, behind `lead` single bytes that put it off every alignment."""
    spec = TensorSpec(dtype, (len(raw) // ITEM_BYTES[dtype],))
    return safetensors({"lead": (TensorSpec("U8", (lead,)), bytes(lead)), "a": (spec, raw)})


def is_finite(data: bytes) -> bool:
    try:
        scan_weights(io.BytesIO(data), len(data)).require_finite()
    except StatementError:
        return False
    return True


def judged_in_blocks(data: bytes, cuts: Iterator[int]) -> str:
    stream = io.BytesIO(data)
    check = FinitenessCheck(read_header(stream, len(data)))
    while block := stream.read(next(cuts)):
        check.feed(block)
    return check.problem


def test_a_file_is_read_once_in_blocks_and_its_size_and_digest_are_known() -> None:
    data = save({"a": np.ones(1_000_000, np.float32)})
    stream = Counting(data)
    found = scan_weights(stream, len(data))  # type: ignore[arg-type]  # the reading half of BinaryIO
    assert (found.size, found.digest) == (len(data), Digest.of(data))
    assert stream.read_bytes == len(data)
    assert stream.largest <= 1 << 20


def told(found: WeightsFile) -> list[object]:
    """Everything that a pass found, errors as their lines."""
    said: list[object] = [found.size, found.digest]
    for ask in (lambda: found.tensors, found.require_finite):
        try:
            said.append(ask())
        except (MalformedError, StatementError) as error:
            said.append(str(error))
    return said


@given(
    st.one_of(
        st.binary(max_size=200),
        st.just(of_bits("F32", struct.pack("<5f", 1, 2, float("nan"), 4, 5), lead=3)),
        st.just(weights()),
        st.just(weights()[:-1]),
        st.just((2**63).to_bytes(8, "little") + b"{}"),
        st.just((60).to_bytes(8, "little") + b"{}"),
    ),
    st.lists(st.integers(1, 40), min_size=1),
    st.integers(-2, 2),
)
def test_what_is_found_as_a_file_comes_in_is_what_is_found_in_it_as_a_whole(
    data: bytes, cuts: list[int], lie: int
) -> None:
    said = max(0, len(data) + lie)
    scan, at = WeightsScan(said), 0
    for cut in itertools.cycle(cuts):
        if at >= len(data):
            break
        scan.feed(data[at : at + cut])
        at += cut
    assert told(scan.found()) == told(scan_weights(io.BytesIO(data), said)) == told(whole(data, said))


def whole(data: bytes, said: int) -> WeightsFile:
    """The oracle: header, digest and numbers each from the whole file at once."""
    stream = io.BytesIO(data)
    tensors: dict[str, TensorInfo] = {}
    malformed: MalformedError | None = None
    try:
        tensors = read_header(stream, said)
    except MalformedError as error:
        malformed = error
    check = FinitenessCheck(tensors)
    check.feed(stream.read())
    return WeightsFile(
        size=len(data), digest=Digest.of(data), _tensors=tensors, _malformed=malformed, _problem=check.problem
    )


class Ones(io.RawIOBase):
    """A file of so many MiB of float32 ones, made while it is read."""

    def __init__(self, megabytes: int) -> None:
        size = megabytes << 20
        entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
        self._head = io.BytesIO(with_header(json.dumps({"a": entry}).encode(), b""))
        self._left = megabytes
        self.size = len(self._head.getvalue()) + size

    def read(self, size: int = -1) -> bytes:
        if head := self._head.read(size):
            return head
        self._left -= 1
        return b"\x00\x00\x80\x3f" * (1 << 18) if self._left >= 0 else b""


def test_memory_does_not_grow_with_the_file() -> None:
    stream = Ones(64)
    tracemalloc.start()
    found = scan_weights(stream, stream.size)  # type: ignore[arg-type]  # as above
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found.require_finite()
    assert found.size == stream.size
    assert peak < 8 << 20


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("place", [0, 1, 262_143, 262_144, 299_999])
def test_one_bad_number_is_found_wherever_it_stands(dtype: str, place: int) -> None:
    for bad in (float("nan"), float("inf"), float("-inf")):
        numbers = torch.ones(300_000, dtype=TORCH[dtype])
        assert is_finite(of_bits(dtype, numbers.view(torch.uint8).numpy().tobytes(), lead=3))
        numbers[place] = bad
        assert not is_finite(of_bits(dtype, numbers.view(torch.uint8).numpy().tobytes(), lead=3))


@given(
    dtype=st.sampled_from(list(TORCH)),
    raw=st.one_of(st.binary(max_size=64), st.lists(st.sampled_from(SPECIAL), max_size=8)),
    lead=st.integers(0, 9),
    cut=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_any_bits_cut_anywhere_are_judged_as_torch_judges_them(
    dtype: str, raw: bytes | list[float], lead: int, cut: list[int]
) -> None:
    if isinstance(raw, list):
        raw = torch.tensor(raw, dtype=torch.float64).to(TORCH[dtype]).view(torch.uint8).numpy().tobytes()
    raw = raw[: len(raw) // ITEM_BYTES[dtype] * ITEM_BYTES[dtype]]
    numbers = torch.frombuffer(bytearray(raw), dtype=TORCH[dtype]) if raw else torch.zeros(0)
    expected = bool(torch.isfinite(numbers).all())
    data = of_bits(dtype, raw, lead)
    assert is_finite(data) is expected

    def cuts() -> Iterator[int]:
        while True:
            yield from cut

    assert (judged_in_blocks(data, cuts()) == "") is expected


def test_the_first_of_several_bad_tensors_is_named() -> None:
    nan = struct.pack("<f", float("nan"))
    spec = TensorSpec("F32", (1,))
    data = safetensors({"good": (spec, bytes(4)), "bad": (spec, nan), "worse": (spec, nan)})
    with pytest.raises(StatementError, match="'bad' holds NaN"):
        scan_weights(io.BytesIO(data), len(data)).require_finite()


def test_a_file_without_tensors_has_nothing_that_is_not_finite() -> None:
    data = safetensors({})
    scan_weights(io.BytesIO(data), len(data)).require_finite()


@pytest.mark.parametrize("garbage", [b"", b"\x80\x04pickle" * 99, weights()[:-1], weights() + b"!"])
def test_the_digest_of_garbage_is_known_and_asking_for_its_tensors_refused(garbage: bytes) -> None:
    found: Any = scan_weights(io.BytesIO(garbage), len(garbage))
    assert (found.size, found.digest) == (len(garbage), Digest.of(garbage))
    with pytest.raises(MalformedError):
        _ = found.tensors
    with pytest.raises(MalformedError):
        found.require_finite()
