import io
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from trust.shard_data import TENSORS, safetensors, weights, with_header

from severable_trust.errors import MalformedError, StatementError
from severable_trust.tensors import TensorInfo, TensorSpec, read_header, require_tensors
from severable_trust.weights import scan_weights


def read(data: bytes) -> dict[str, TensorInfo]:
    return read_header(io.BytesIO(data), len(data))


def finite(data: bytes) -> None:
    scan_weights(io.BytesIO(data), len(data)).require_finite()


def check(data: bytes, expected: Mapping[str, TensorSpec] = TENSORS) -> dict[str, TensorInfo]:
    found = read(data)
    require_tensors(found, expected)
    return found


def header(**entries: Any) -> bytes:
    return json.dumps(entries).encode()


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_file_of_the_library_is_read_as_the_library_wrote_it() -> None:
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones((4,), np.float16),
        "c": np.zeros((0, 5), np.float64),
        "d": np.array(7, np.int64),
    }
    data = save(arrays, metadata={"format": "pt"})
    found = read(data)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert data[found[name].begin : found[name].end] == array.tobytes()
    finite(data)


def test_the_tensors_of_the_recipe_are_accepted() -> None:
    assert set(check(weights())) == set(TENSORS)


def test_a_missing_an_unexpected_or_a_changed_tensor_is_named() -> None:
    spec = TENSORS["conv.bias"]
    with pytest.raises(StatementError, match=r"'conv.extra' is missing"):
        check(weights(), {**TENSORS, "conv.extra": spec})
    with pytest.raises(StatementError, match=r"'conv.weight' is not in the recipe"):
        check(weights(), {"conv.bias": spec})
    with pytest.raises(StatementError, match=r"'conv.bias' is F32\[2\], expected F32\[1, 2\]"):
        check(weights(), {**TENSORS, "conv.bias": TensorSpec("F32", (1, 2))})
    with pytest.raises(StatementError, match=r"expected F16\[2\]"):
        check(weights(), {**TENSORS, "conv.bias": TensorSpec("F16", (2,))})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\x80\x04\x95" + b"\x00" * 40,  # a pickle
        (1 << 62).to_bytes(8, "little") + b"{}",
        with_header(b"", b""),
        with_header(b"[]", b""),
        with_header(b" {}", b""),
        with_header(b"{", b""),
        with_header(b"\xff\xfe", b""),
        with_header(b"[" * 100_000, b""),
        with_header(b" " * ((1 << 20) + 1), b""),
        with_header(b"{}", b"tail"),
        with_header(header(a=entry()), b""),
        with_header(header(a=entry()), b"\x00" * 5),
        with_header(header(a=entry(offsets=(4, 8))), b"\x00" * 8),
        with_header(header(a=entry(), b=entry()), b"\x00" * 4),
        with_header(header(a=entry(), b=entry(offsets=(2, 6))), b"\x00" * 6),
        with_header(header(a=entry(), b=entry(offsets=(5, 9))), b"\x00" * 9),
        with_header(header(a=entry(offsets=(4, 0))), b"\x00" * 4),
        with_header(header(a=entry(shape=(2,))), b"\x00" * 4),
        with_header(header(a=entry(shape=(-1,))), b"\x00" * 4),
        with_header(header(a=entry(shape=(True,))), b"\x00" * 4),
        with_header(header(a=entry(shape=(1.0,))), b"\x00" * 4),
        with_header(header(a=entry(shape=1)), b"\x00" * 4),
        with_header(header(a=entry(shape=(1 << 62, 1 << 62, 4))), b"\x00" * 4),
        with_header(header(a=entry(offsets=(0, 4, 8))), b"\x00" * 4),
        with_header(header(a=entry(dtype="F4")), b"\x00" * 4),
        with_header(header(a={**entry(), "more": 1}), b"\x00" * 4),
        with_header(header(a={"dtype": "F32"}), b"\x00" * 4),
        with_header(header(a=[]), b"\x00" * 4),
        with_header(b'{"a":%s,"a":%s}' % (header(**entry()), header(**entry())), b"\x00" * 4),
        with_header(header(__metadata__={"a": "1", "b": "2"}), b""),
        with_header(header(__metadata__={"a": 1}), b""),
        with_header(header(__metadata__=[]), b""),
    ],
)
def test_a_file_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^weights: "):
        read(data)


def test_a_header_that_is_too_long_is_refused_before_it_is_read() -> None:
    for data in (with_header(b" " * ((1 << 20) + 1), b""), b"\x10" + b"\x00" * 7 + b"{}", b"\x00" * 7):
        with pytest.raises(MalformedError, match="not a safetensors file, or its header"):
            read(data)


def test_a_header_may_be_padded_with_spaces_as_the_library_does() -> None:
    assert set(read(with_header(header(a=entry()) + b"   ", b"\x00" * 4))) == {"a"}


SPECIAL = [math.nan, math.inf, -math.inf]
CODES = {"F16": "e", "F32": "f", "F64": "d"}


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("place", [0, 1, 6])
def test_one_number_that_is_not_finite_is_found_and_its_tensor_named(dtype: str, special: float, place: int) -> None:
    numbers = [1.0] * 7
    numbers[place] = special
    good = struct.pack(f"<7{CODES[dtype]}", *[1.0] * 7)
    bad = struct.pack(f"<7{CODES[dtype]}", *numbers)
    spec = TensorSpec(dtype, (7,))
    finite(safetensors({"good": (spec, good)}))
    with pytest.raises(StatementError, match="tensor 'bad' holds NaN"):
        finite(safetensors({"good": (spec, good), "bad": (spec, bad)}))


@pytest.mark.parametrize(
    ("bits", "ok"), [(0x7F7F, True), (0xFF7F, True), (0x7F80, False), (0xFF80, False), (0x7FC0, False)]
)
def test_bfloat16_is_judged_by_its_exponent(bits: int, ok: bool) -> None:
    data = safetensors({"a": (TensorSpec("BF16", (2,)), struct.pack("<2H", 0x3F80, bits))})
    if ok:
        finite(data)
    else:
        with pytest.raises(StatementError, match="NaN"):
            finite(data)


def test_the_largest_numbers_do_not_add_up_to_infinity() -> None:
    for dtype, largest in (("F32", 3.4028234663852886e38), ("F64", 1.7976931348623157e308)):
        data = struct.pack(f"<9{CODES[dtype]}", *[largest] * 9)
        finite(safetensors({"a": (TensorSpec(dtype, (9,)), data)}))


def test_opposite_infinities_do_not_cancel() -> None:
    data = struct.pack("<2f", math.inf, -math.inf)
    with pytest.raises(StatementError, match="NaN"):
        finite(safetensors({"a": (TensorSpec("F32", (2,)), data)}))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_any_bits_of_float32_are_judged_as_numpy_judges_them(bits: list[int]) -> None:
    raw = np.array(bits, np.uint32)
    data = safetensors({"a": (TensorSpec("F32", (len(bits),)), raw.tobytes())})
    if np.isfinite(raw.view(np.float32)).all():
        finite(data)
    else:
        with pytest.raises(StatementError):
            finite(data)


def test_the_last_number_of_a_tensor_longer_than_a_chunk_is_looked_at() -> None:
    array = np.ones(300_000, np.float32)
    array[-1] = np.nan
    with pytest.raises(StatementError, match="'a'"):
        finite(save({"a": array}))


def test_whole_numbers_need_no_check_and_odd_floats_are_refused() -> None:
    finite(safetensors({"a": (TensorSpec("I64", (1,)), b"\xff" * 8)}))
    with pytest.raises(StatementError, match="F8_E4M3"):
        finite(safetensors({"a": (TensorSpec("F8_E4M3", (1,)), b"\x00")}))


@pytest.mark.parametrize(("dtype", "shape"), [("F4", (1,)), ("F32", (-1,))])
def test_a_specification_of_nothing_is_the_callers_error(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no tensor"):
        TensorSpec(dtype, shape)


def test_a_shape_of_a_million_dimensions_is_refused_before_it_is_multiplied() -> None:
    with pytest.raises(MalformedError, match="65 dimensions, at most 64"):
        read(with_header(header(a=entry(shape=[1] * 65)), bytes(4)))


def test_an_offset_that_no_file_has_is_refused_in_one_line() -> None:
    number = int("9" * 4300)  # the longest that Python reads; it prints no longer one
    with pytest.raises(MalformedError, match="not lists of whole numbers"):
        read(with_header(header(a=entry("U8", [number], [0, number])), b""))
