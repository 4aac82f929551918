"""The log's Merkle tree: hashes, roots, proofs and their verification, as pure functions.

RFC 6962 section 2.1 and RFC 9162 section 2.1, SHA-256. A complete subtree's hash never changes once its leaves are
there, so a store keeps exactly those: `get(level, index)` is the hash over the leaves [index * 2**level,
(index + 1) * 2**level). Every other hash is computed from them in a logarithmic number of steps.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from severable_trust.errors import LogError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class HashStore(Protocol):
    """Where the hashes of complete subtrees are kept."""

    def get(self, level: int, index: int) -> bytes:
        """The hash over the leaves [index * 2**level, (index + 1) * 2**level), all of which are in the log."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(store: HashStore, size: int) -> bytes:
    """The root of the tree over the first `size` leaves."""
    if size < 0:
        raise ValueError(f"size {size} is negative")
    return _subtree(store, 0, size) if size else EMPTY_ROOT


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree over these leaves (their bytes, not their hashes), read once, in logarithmic memory."""
    peaks: list[bytes] = []  # roots of the complete subtrees so far, the largest first
    for index, data in enumerate(leaves):
        value, place = leaf_hash(data), index
        while place & 1:
            value, place = node_hash(peaks.pop(), value), place >> 1
        peaks.append(value)
    if not peaks:
        return EMPTY_ROOT
    top = peaks.pop()
    while peaks:
        top = node_hash(peaks.pop(), top)
    return top


def inclusion_proof(store: HashStore, index: int, size: int) -> tuple[bytes, ...]:
    """PATH(index, D[size]) of RFC 9162 section 2.1.3.1: the siblings from the leaf up to the root.

    Raises:
        ValueError: not 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of size {size}")
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(_subtree(store, middle, end))
            end = middle
        else:
            proof.append(_subtree(store, begin, middle))
            begin = middle
    return tuple(reversed(proof))


def consistency_proof(store: HashStore, old: int, new: int) -> tuple[bytes, ...]:
    """PROOF(old, D[new]) of RFC 9162 section 2.1.4.1; empty for equal sizes.

    Raises:
        ValueError: not 0 < old <= new. There is no proof from the empty tree: it is consistent with every tree.
    """
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof goes from size {old} to size {new}")
    proof: list[bytes] = []
    begin, end = 0, new
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            proof.append(_subtree(store, middle, end))
            end = middle
        else:
            proof.append(_subtree(store, begin, middle))
            begin = middle
    if begin:  # the old tree is not the left-most subtree itself, so its last piece must be shown
        proof.append(_subtree(store, begin, end))
    return tuple(reversed(proof))


def completed_nodes(store: HashStore, index: int, leaf_hash: bytes) -> list[tuple[int, int, bytes]]:
    """What to store when `leaf_hash` is appended at `index`: (level, index, hash), the leaf's own first.

    Appending a leaf completes one subtree for every trailing one bit of its index.
    """
    nodes = [(0, index, leaf_hash)]
    level, place, value = 0, index, leaf_hash
    while place & 1:
        value = node_hash(store.get(level, place - 1), value)
        level, place = level + 1, place >> 1
        nodes.append((level, place, value))
    return nodes


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the leaf hash is at `index` of the tree of this size and root (RFC 9162 section 2.1.3.2).

    Raises:
        LogError: it is not, or the proof has another form than the one for this index and size.
    """
    if not 0 <= index < size:
        raise LogError(f"inclusion: index {index} is not in a tree of size {size}")
    _check_lengths((leaf_hash, root, *proof), "inclusion")
    place, last, value = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise LogError("inclusion: proof is too long")
        if place & 1 or place == last:
            value = node_hash(sibling, value)
            place, last = _climb_right_edge(place, last)
        else:
            value = node_hash(value, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise LogError("inclusion: proof is too short")
    if value != root:
        raise LogError(f"inclusion: leaf {index} does not lead to the root of the tree of size {size}")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the old tree is a prefix of the new one (RFC 9162 section 2.1.4.2).

    The empty tree is a prefix of every tree, by an empty proof, if its root is the empty root.

    Raises:
        LogError: it is not, or the proof has another form than the one for these sizes.
    """
    if not 0 <= old <= new:
        raise LogError(f"consistency: a log does not go from size {old} to size {new}")
    _check_lengths((old_root, new_root, *proof), "consistency")
    if old in {0, new}:
        _verify_trivial(old, new, old_root, new_root, proof)
        return
    if not proof:
        raise LogError("consistency: proof is empty")
    # The old root itself starts the proof, unsaid, when the old tree is complete.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    found_old, found_new = _fold_consistency(old - 1, new - 1, path)
    if found_old != old_root:
        raise LogError(f"consistency: proof does not lead to the root at size {old}")
    if found_new != new_root:
        raise LogError(f"consistency: proof does not lead to the root at size {new}")


def _verify_trivial(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise LogError(f"consistency: proof from size {old} to size {new} must be empty")
    if old == new and old_root != new_root:
        raise LogError(f"consistency: two roots at size {old}")
    if old == 0 and old_root != EMPTY_ROOT:
        raise LogError("consistency: the root at size 0 is not the empty tree's")


def _fold_consistency(place: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    while place & 1:
        place, last = place >> 1, last >> 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LogError("consistency: proof is too long")
        if place & 1 or place == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            place, last = _climb_right_edge(place, last)
        else:
            found_new = node_hash(found_new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise LogError("consistency: proof is too short")
    return found_old, found_new


def _climb_right_edge(place: int, last: int) -> tuple[int, int]:
    # On the ragged right edge a node without a sibling moves up unchanged, until it is somebody's right child.
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _check_lengths(hashes: Sequence[bytes], what: str) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise LogError(f"{what}: a hash is not {HASH_BYTES} bytes long")


def _split(count: int) -> int:
    """The largest power of two smaller than `count`, which is 2 or more (RFC 9162 section 2.1.1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree(store: HashStore, begin: int, end: int) -> bytes:
    """MTH of the leaves [begin, end), where `begin` is a multiple of the largest power of two up to the count."""
    count = end - begin
    if count & (count - 1) == 0:
        return store.get(count.bit_length() - 1, begin // count)
    middle = begin + _split(count)
    return node_hash(_subtree(store, begin, middle), _subtree(store, middle, end))
