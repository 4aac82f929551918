"""The pass over weights that come in: numpy judges their numbers as the verifier and torch judge them."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from severable_coordinator.reading import all_finite
from severable_trust import finite
from severable_trust.tensors import ITEM_BYTES

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SPECIAL = [0.0, -0.0, -1.5, 3.4e38, -65504.0, 1e308, float("nan"), float("inf"), float("-inf")]


@given(
    dtype=st.sampled_from(list(TORCH)),
    raw=st.one_of(st.binary(max_size=64), st.lists(st.sampled_from(SPECIAL), max_size=8)),
    lead=st.integers(0, 9),
    rest=st.integers(0, 9),
)
@example(dtype="F32", raw=b"\x00\x00\x80\xff", lead=1, rest=1)
@example(dtype="F16", raw=b"\x01\x7c", lead=0, rest=0)
def test_any_bits_anywhere_in_a_block_are_judged_as_the_verifier_and_torch_judge_them(
    dtype: str, raw: bytes | list[float], lead: int, rest: int
) -> None:
    if isinstance(raw, list):
        raw = torch.tensor(raw, dtype=torch.float64).to(TORCH[dtype]).view(torch.uint8).numpy().tobytes()
    raw = raw[: len(raw) // ITEM_BYTES[dtype] * ITEM_BYTES[dtype]]
    numbers = torch.frombuffer(bytearray(raw), dtype=TORCH[dtype]) if raw else torch.zeros(0)
    block = b"\xff" * lead + raw + b"\xff" * rest
    judged = [look(dtype, block, lead, lead + len(raw)) for look in (all_finite, finite.all_finite)]
    assert judged == [bool(torch.isfinite(numbers).all())] * 2


@pytest.mark.parametrize("dtype", TORCH)
def test_every_half_and_every_bound_of_the_wider_ones_is_judged_as_the_verifier_judges_it(dtype: str) -> None:
    item = ITEM_BYTES[dtype]
    exponents = range(0, 1 << 16, 1 if item == 2 else 8)  # the first sixteen bits
    for low in (b"",) if item == 2 else (bytes(item - 2), b"\xff" * (item - 2)):
        for high in exponents:
            bits = low + high.to_bytes(2, "little")
            assert all_finite(dtype, bits, 0, item) is finite.all_finite(dtype, bits, 0, item), bits


def test_a_bad_number_is_found_among_a_million() -> None:
    numbers = np.random.default_rng(5).normal(size=1 << 20).astype("<f4")
    assert all_finite("F32", numbers.tobytes(), 0, numbers.nbytes)
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        spoilt = numbers.copy()
        spoilt[777_777] = bad
        assert not all_finite("F32", spoilt.tobytes(), 0, spoilt.nbytes)
