"""Near duplicates: what counts as alike, and that the fast search finds what comparing all pairs finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from severable_client.likeness import BITS, GRID, THRESHOLD, difference_hash, near_pairs

FLAT = np.full((GRID, GRID), 128, np.uint8)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(10, 200, (count, GRID, GRID), dtype=np.uint8)


def hashes(cell_N99: np.ndarray) -> np.ndarray:
    return np.array([difference_hash(cell_99) for cell_99 in cell_N99], dtype=np.uint64).reshape(-1, 2)


def found(cell_N99: np.ndarray) -> list[tuple[int, int]]:
    return [(one, two) for one, two, _ in near_pairs(hashes(cell_N99), cell_N99).pairs]


def test_a_hash_says_where_it_gets_brighter() -> None:
    assert difference_hash(FLAT) == (0, 0)
    rising_99 = np.tile(np.arange(0, 90, 10, dtype=np.uint8), (GRID, 1))
    assert difference_hash(rising_99) == (2**64 - 1, 0)
    assert difference_hash(rising_99.T) == (0, 2**64 - 1)


def test_a_brighter_copy_is_a_near_duplicate_and_another_picture_is_none() -> None:
    one_99, other_99 = noise(2)
    assert found(np.stack([one_99, one_99 + 5, other_99])) == [(0, 1)]


def test_flat_pictures_of_other_colours_are_not_alike() -> None:
    assert found(np.stack([FLAT, FLAT - 100, FLAT + 3])) == [(0, 2)]


def test_unrelated_pictures_differ_in_far_more_bits_than_the_threshold() -> None:
    hash_N2 = hashes(noise(200))
    bits_P = np.bitwise_count(hash_N2[:100] ^ hash_N2[100:]).sum(axis=1)
    assert bits_P.min() > 4 * THRESHOLD
    assert abs(float(bits_P.mean()) - BITS / 2) < 4


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_search_finds_what_comparing_all_pairs_finds(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    base_N99 = draw.integers(100, 140, (3, GRID, GRID))[draw.integers(0, 3, count)]
    cell_N99 = (base_N99 + draw.integers(-1, 2, (count, GRID, GRID))).astype(np.uint8)
    hash_N2 = hashes(cell_N99)
    level_N99 = cell_N99.astype(float) - cell_N99.mean(axis=(1, 2), keepdims=True)
    expected = [
        (one, two)
        for one in range(count)
        for two in range(one + 1, count)
        if np.bitwise_count(hash_N2[one] ^ hash_N2[two]).sum() <= THRESHOLD
        and np.abs(level_N99[one] - level_N99[two]).mean() <= 4
    ]
    assert found(cell_N99) == expected


def test_nothing_and_one_picture_have_no_pairs() -> None:
    for count in (0, 1):
        assert near_pairs(hashes(noise(count)), noise(count)).pairs == ()


def test_a_search_among_thousands_of_equal_pictures_is_cut_short_and_says_so() -> None:
    many_N99 = np.repeat(FLAT[None], 300, axis=0)
    result = near_pairs(hashes(many_N99), many_N99)
    assert not result.complete
    assert len(result.pairs) > 1000


def test_a_threshold_that_the_search_cannot_keep_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="from 0 to 7"):
        near_pairs(hashes(noise(2)), noise(2), threshold=8)
