"""Near duplicates: a difference hash of 128 bits, and the pairs of images whose hashes differ in few of them. Pure.

The hash is dHash (N. Krawetz, "Kind of Like That", 2013) in two directions: of a picture scaled to 9 x 9 grey cells, 64
bits say which cells are brighter than their left neighbour, 64 which are brighter than the one above. Simple pictures
(digits, icons) share a hash easily, so the cells themselves are compared as well. Compression and small changes of
brightness pass; a cut of the margin or a mirrored picture does not. Shapes: N images, P pairs.
"""

from dataclasses import dataclass

import numpy as np

GRID = 9  # cells a side
BITS = 128
THRESHOLD = 7  # bits; unrelated photographs differ in about 60, handwritten digits in about 35
CELLS_APART = 4  # grey levels of 255, the mean over the cells, each picture's own mean taken out
MEANS_APART = 16  # grey levels between the pictures' own means
_STEP = 2  # grey levels that a neighbour must be brighter by, so that flat parts give no noise
_BANDS = 8  # of 16 bits: hashes that differ in at most 7 bits agree in one band at least
_WINDOW = 4096
MAX_PAIRS = 10_000

# Each band takes its bits from diagonals across the picture: a flat border then fills no band alone.
_ORDER = np.array(sorted(range(64), key=lambda place: ((place // 8 + place % 8) % 4, place)))


@dataclass(frozen=True, slots=True)
class NearPairs:
    """Pairs of images that look alike.

    Attributes:
        pairs: the rows of two images and the number of bits in which their hashes differ, each pair once, sorted.
        complete: False when the search was cut short: there may be more.
    """

    pairs: tuple[tuple[int, int, int], ...]
    complete: bool


def difference_hash(grey_99: np.ndarray) -> tuple[int, int]:
    """Return a picture's hash as two numbers of 64 bits.

    Args:
        grey_99: the picture as 9 x 9 grey levels, 0 to 255.
    """
    level_99 = grey_99.astype(np.int16)
    right_88 = level_99[:8, 1:] > level_99[:8, :-1] + _STEP
    below_88 = level_99[1:, :8] > level_99[:-1, :8] + _STEP
    return _packed(right_88), _packed(below_88)


def near_pairs(hash_N2: np.ndarray, cell_N99: np.ndarray, threshold: int = THRESHOLD) -> NearPairs:
    """Return the pairs whose hashes differ in at most `threshold` bits and whose cells are as close as said above.

    Time grows with the number of pairs that agree in a band, not with all pairs.

    Args:
        hash_N2: uint64, as `difference_hash`.
        cell_N99: uint8, the pictures as 9 x 9 grey levels.
        threshold: bits, 0 to 7.
    """
    if not 0 <= threshold < _BANDS:
        raise ValueError(f"threshold {threshold} is not from 0 to {_BANDS - 1}")
    found: dict[tuple[int, int], int] = {}
    complete = True
    for band in range(_BANDS):
        key_N = (hash_N2[:, band // 4] >> np.uint64(16 * (band % 4))) & np.uint64(0xFFFF)
        order_N = np.lexsort((hash_N2[:, 1], hash_N2[:, 0], key_N))
        complete &= _search(hash_N2, cell_N99, (key_N[order_N], order_N), threshold, found)
    pairs = sorted((first, second, bits) for (first, second), bits in found.items())
    return NearPairs(tuple(pairs), complete)


def _search(
    hash_N2: np.ndarray,
    cell_N99: np.ndarray,
    sorted_N: tuple[np.ndarray, np.ndarray],
    threshold: int,
    found: dict[tuple[int, int], int],
) -> bool:
    """Compare every image with those after it that have its key; return False when something was left out."""
    key_N, order_N = sorted_N
    at_P = np.arange(len(key_N))
    for step in range(1, _WINDOW + 1):
        at_P = at_P[at_P + step < len(key_N)]
        at_P = at_P[key_N[at_P] == key_N[at_P + step]]
        if not at_P.size:
            return True
        one_P, two_P = order_N[at_P], order_N[at_P + step]
        bits_P = np.bitwise_count(hash_N2[one_P] ^ hash_N2[two_P]).sum(axis=1)
        close_P = np.flatnonzero(bits_P <= threshold)
        close_P = close_P[_alike(cell_N99[one_P[close_P]], cell_N99[two_P[close_P]])]
        for place in close_P:
            pair = sorted((int(one_P[place]), int(two_P[place])))
            found[pair[0], pair[1]] = int(bits_P[place])
        if len(found) > MAX_PAIRS:
            return False
    return False


def _alike(one_P99: np.ndarray, two_P99: np.ndarray) -> np.ndarray:
    """Return for each pair whether its cells are close, bool (P,)."""
    apart_P99 = one_P99.astype(np.float32) - two_P99.astype(np.float32)
    mean_P = apart_P99.mean(axis=(1, 2))
    rest_P = np.abs(apart_P99 - mean_P[:, None, None]).mean(axis=(1, 2))
    near_P: np.ndarray = (np.abs(mean_P) <= MEANS_APART) & (rest_P <= CELLS_APART)
    return near_P


def _packed(bit_88: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bit_88.reshape(64)[_ORDER]).tobytes(), "big")
