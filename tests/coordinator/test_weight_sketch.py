"""Sketches of weights: the laws in weight_sketch.py's docstring, held against numbers drawn for the purpose."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save

from severable_coordinator.weight_sketch import BITS, SAME, Sketching, WeightSketch, key_id

KEY = bytes(range(32))
Array = npt.NDArray[np.float32]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def file_of(**tensors: Array) -> bytes:
    return bytes(save(tensors))


def sketch_of(data: bytes, key: bytes = KEY, block: int = 1 << 20) -> WeightSketch:
    sketching = Sketching(key, len(data))
    for at in range(0, len(data), block):
        sketching.feed(data[at : at + block])
    return sketching.sketch()


def correlated(x: Array, r: float, seed: int) -> Array:
    mixed: Array = r * x + math.sqrt(1 - r * r) * normal(seed, *x.shape)
    return mixed


@pytest.mark.parametrize("block", [1, 7, 4096, 100_003])
def test_a_sketch_does_not_depend_on_where_the_file_is_cut(block: int) -> None:
    data = file_of(a=normal(1, 30, 7), b=normal(2, 11), empty=normal(3, 0), c=normal(4, 1))
    assert sketch_of(data, block=block) == sketch_of(data)


def test_a_sketch_of_more_weights_than_one_stretch_is_the_same_however_it_comes() -> None:
    data = file_of(a=normal(1, 300_000), b=normal(2, 5))
    assert sketch_of(data, block=70_001) == sketch_of(data)


def test_a_sketch_does_not_depend_on_the_order_of_the_tensors_in_the_file() -> None:
    a, b = normal(1, 500), normal(2, 700)
    first, second = file_of(a=a, b=b), file_of(b=a, a=b)
    assert sketch_of(first) != sketch_of(second)  # names count
    place = '"%s":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}'
    head = f"{{{place % ('b', 700, 0, 2800)},{place % ('a', 500, 2800, 4800)}}}".encode()
    swapped = len(head).to_bytes(8, "little") + head + b.tobytes() + a.tobytes()
    assert sketch_of(swapped) == sketch_of(first)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_the_distance_follows_the_angle_between_the_signs(r: float) -> None:
    """Within five standard deviations of Binomial(BITS, p), over weights whose values are correlated by r."""
    x = normal(1, 40_000)
    c = 2 * math.asin(r) / math.pi
    p = math.acos(c) / math.pi
    one, other = sketch_of(file_of(w=x)), sketch_of(file_of(w=correlated(x, r, 2)))
    assert abs(one.differing(other) - BITS * p) <= 5 * math.sqrt(BITS * p * (1 - p))


def test_one_bit_of_a_weight_changes_next_to_nothing_whichever_bit_it_is() -> None:
    """The highest bit of the exponent makes 1e38 of a small number: it still counts for one weight of many."""
    x = normal(1, 5000)
    kept = sketch_of(file_of(w=x))
    for bit in range(32):
        bits = x.view(np.uint32).copy()
        bits[77] ^= np.uint32(1 << bit)
        assert kept.differing(sketch_of(file_of(w=bits.view(np.float32)))) <= 20


def test_scaled_weights_have_the_same_sketch() -> None:
    x, norm = normal(1, 5000), np.ones(100, np.float32)
    assert sketch_of(file_of(w=x, norm=norm)) == sketch_of(file_of(w=3 * x, norm=(norm / 7).astype(np.float32)))


def test_what_every_shard_of_a_recipe_shares_makes_no_two_alike() -> None:
    """Tensors that all begin at one value outnumber the weights ten to one, and yet the two are at a right angle."""
    shared = np.ones(50_000, np.float32)
    one, other = (sketch_of(file_of(norm=shared, w=normal(seed, 5000))) for seed in (1, 2))
    assert abs(one.differing(other) - BITS / 2) <= 5 * math.sqrt(BITS) / 2


def test_sketches_under_two_keys_cannot_be_compared() -> None:
    data = file_of(w=normal(1, 5000))
    one, other = sketch_of(data), sketch_of(data, key=bytes(32))
    assert key_id(KEY) != key_id(bytes(32))
    assert one.bits != other.bits
    with pytest.raises(ValueError, match="two keys"):
        one.differing(other)


def chance_of_being_taken_for_the_same(c: float) -> float:
    p = math.acos(c) / math.pi
    logs = (
        math.lgamma(BITS + 1) - math.lgamma(k + 1) - math.lgamma(BITS - k + 1)
        + k * math.log(p) + (BITS - k) * math.log1p(-p)
        for k in range(SAME + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logs))


def test_the_errors_are_as_rare_as_the_docstring_says() -> None:
    assert chance_of_being_taken_for_the_same(0.0) < 2e-25
    assert chance_of_being_taken_for_the_same(0.2) < 5e-10
    assert 1 - chance_of_being_taken_for_the_same(0.75) < 4e-10


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 40, (20).to_bytes(8, "little") + b"{" * 20, b"\0" * 9])
def test_what_is_no_weights_file_is_taken_in_silence(data: bytes) -> None:
    assert len(sketch_of(data).bits) == BITS // 8


@pytest.mark.parametrize("dtype", ["<f2", "<f8"])
def test_numbers_of_another_width_have_signs_too(dtype: str) -> None:
    x = normal(1, 5000)
    assert sketch_of(bytes(save({"w": x.astype(dtype)}))).differing(sketch_of(file_of(w=x))) == 0
