"""The tree against RFC 9162 section 2.1, written down here as the recursion the RFC gives."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.samples import MemoryLog

from severable_trust.errors import LogError
from severable_trust.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 64
LEAVES = [b"leaf %d" % number for number in range(LARGEST + 1)]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    """MTH(D[n]), section 2.1.1."""
    if not d:
        return sha256(b"").digest()
    if len(d) == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]), section 2.1.3.1."""
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b), section 2.1.4.1."""
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole=whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], whole=False), mth(d[:k])]


def tree(leaves: list[bytes]) -> MemoryLog:
    log = MemoryLog()
    for data in leaves:
        log.append(data)
    return log


FULL = tree(LEAVES)
ROOTS = [mth(LEAVES[:size]) for size in range(LARGEST + 2)]


def test_every_root_is_that_of_the_rfc() -> None:
    assert [root(FULL, size) for size in range(LARGEST + 2)] == ROOTS
    assert ROOTS[0] == EMPTY_ROOT


def test_the_root_over_a_stream_of_leaves_is_that_of_the_rfc() -> None:
    assert [root_of(iter(LEAVES[:size])) for size in range(LARGEST + 2)] == ROOTS
    assert [root_of(CT_LEAVES[:size]).hex() for size in range(9)] == CT_ROOTS


def test_every_inclusion_proof_is_that_of_the_rfc_and_is_accepted() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(FULL, index, size)
            assert list(proof) == path(index, LEAVES[:size])
            verify_inclusion(index, size, leaf_hash(LEAVES[index]), proof, ROOTS[size])


def test_every_consistency_proof_is_that_of_the_rfc_and_is_accepted() -> None:
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            proof = consistency_proof(FULL, old, new)
            assert list(proof) == subproof(old, LEAVES[:new], whole=True)
            verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)


def test_a_store_holds_exactly_the_complete_subtrees() -> None:
    expected = {
        (level, index): mth(LEAVES[index << level : (index + 1) << level])
        for level in range(7)
        for index in range(len(LEAVES) >> level)
    }
    assert FULL.nodes == expected


# The known answers of certificate-transparency's own RFC 6962 tests:
# https://github.com/google/certificate-transparency/blob/master/cpp/merkletree/merkle_tree_test.cc
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION_OF_FIRST_IN_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
CT_CONSISTENCY_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]


def test_the_known_roots_and_proofs_of_certificate_transparency_come_out() -> None:
    log = tree(CT_LEAVES)
    assert [root(log, size).hex() for size in range(9)] == CT_ROOTS
    assert [value.hex() for value in inclusion_proof(log, 0, 8)] == CT_INCLUSION_OF_FIRST_IN_8
    assert [value.hex() for value in consistency_proof(log, 6, 8)] == CT_CONSISTENCY_6_TO_8
    assert [value.hex() for value in consistency_proof(log, 1, 8)] == CT_INCLUSION_OF_FIRST_IN_8


def test_leaves_and_nodes_are_hashed_in_different_domains() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.integers(1, LARGEST), st.data())
def test_a_proof_holds_for_no_other_index_size_leaf_or_root(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, leaf = inclusion_proof(FULL, index, size), leaf_hash(LEAVES[index])
    other_size = data.draw(st.integers(1, LARGEST).filter(lambda other: other != size))
    other_index = data.draw(st.integers(0, LARGEST).filter(lambda other: other != index))
    wrong = bytes(32)
    for place, leaves, value, path_, top in (
        (other_index, size, leaf, proof, ROOTS[size]),
        (index, other_size, leaf, proof, ROOTS[other_size]),
        (index, size, wrong, proof, ROOTS[size]),
        (index, size, leaf, proof, wrong),
        (index, size, leaf, (*proof, wrong), ROOTS[size]),
        (index, size, leaf, (wrong, *proof), ROOTS[size]),
    ):
        with pytest.raises(LogError):
            verify_inclusion(place, leaves, value, path_, top)


@given(st.integers(2, LARGEST), st.data())
def test_a_proof_with_a_hash_altered_left_out_or_moved_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, leaf = list(inclusion_proof(FULL, index, size)), leaf_hash(LEAVES[index])
    place = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    flipped = bytearray(proof[place])
    flipped[bit // 8] ^= 1 << bit % 8
    for altered in (
        [*proof[:place], bytes(flipped), *proof[place + 1 :]],
        [*proof[:place], *proof[place + 1 :]],
        [*proof[:place], proof[place], *proof[place:]],
        [*proof[:place], proof[place][:-1], *proof[place + 1 :]],
    ):
        with pytest.raises(LogError):
            verify_inclusion(index, size, leaf, altered, ROOTS[size])


def test_an_index_outside_the_tree_is_refused() -> None:
    for index, size in ((0, 0), (1, 1), (5, 4), (-1, 4), (4, 4)):
        with pytest.raises(LogError, match="not in a tree"):
            verify_inclusion(index, size, leaf_hash(b""), [], EMPTY_ROOT)


@given(st.integers(2, LARGEST), st.data())
def test_an_altered_consistency_proof_is_refused(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = list(consistency_proof(FULL, old, new))
    place = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    flipped = bytearray(proof[place])
    flipped[bit // 8] ^= 1 << bit % 8
    for altered in (
        [*proof[:place], bytes(flipped), *proof[place + 1 :]],
        [*proof[:place], *proof[place + 1 :]],
        [*proof, bytes(32)],
        [],
    ):
        with pytest.raises(LogError):
            verify_consistency(old, new, ROOTS[old], ROOTS[new], altered)
    for old_root, new_root in ((bytes(32), ROOTS[new]), (ROOTS[old], bytes(32)), (b"", ROOTS[new])):
        with pytest.raises(LogError):
            verify_consistency(old, new, old_root, new_root, proof)


@given(st.integers(1, LARGEST), st.integers(1, LARGEST), st.data())
def test_a_log_that_rewrote_a_leaf_cannot_prove_consistency(old: int, more: int, data: st.DataObject) -> None:
    new = min(old + more, LARGEST)
    place = data.draw(st.integers(0, old - 1))
    forged = tree([*LEAVES[:place], b"rewritten", *LEAVES[place + 1 : new]])
    with pytest.raises(LogError):
        verify_consistency(old, new, ROOTS[old], root(forged, new), consistency_proof(forged, old, new))


def test_a_proof_of_the_wrong_form_is_refused_for_its_form() -> None:
    proof, leaf, short = inclusion_proof(FULL, 3, 7), leaf_hash(LEAVES[3]), bytes(31)
    for altered, value, why in (
        ((*proof, proof[0]), leaf, "too long"),
        (proof[:-1], leaf, "too short"),
        ((*proof[:-1], short), leaf, "32 bytes"),
        (proof, short, "32 bytes"),
    ):
        with pytest.raises(LogError, match=f"^inclusion: .*{why}"):
            verify_inclusion(3, 7, value, altered, ROOTS[7])
    proof = consistency_proof(FULL, 3, 7)
    for old, new, path_, why in (
        (3, 7, (*proof, proof[0]), "too long"),
        (3, 7, proof[:-1], "too short"),
        (3, 7, (*proof[:-1], short), "32 bytes"),
        (3, 7, (), "empty"),
        (7, 3, proof, "does not go from size 7 to size 3"),
        (-1, 7, proof, "does not go from size -1"),
    ):
        with pytest.raises(LogError, match=f"^consistency: .*{why}"):
            verify_consistency(old, new, ROOTS[3], ROOTS[7], path_)


def test_trivial_consistency_is_checked_too() -> None:
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], [])
    verify_consistency(5, 5, ROOTS[5], ROOTS[5], [])
    for old, new, old_root, new_root, proof in (
        (5, 4, ROOTS[5], ROOTS[4], []),
        (-1, 4, ROOTS[1], ROOTS[4], []),
        (5, 5, ROOTS[5], ROOTS[4], []),
        (5, 5, ROOTS[5], ROOTS[5], [ROOTS[5]]),
        (0, 5, ROOTS[1], ROOTS[5], []),
        (0, 5, EMPTY_ROOT, ROOTS[5], [ROOTS[5]]),
        (0, 0, EMPTY_ROOT, ROOTS[1], []),
    ):
        with pytest.raises(LogError):
            verify_consistency(old, new, old_root, new_root, proof)


def test_a_proof_that_does_not_exist_is_the_callers_error() -> None:
    for call in (
        lambda: root(FULL, -1),
        lambda: inclusion_proof(FULL, 4, 4),
        lambda: inclusion_proof(FULL, -1, 4),
        lambda: consistency_proof(FULL, 0, 4),
        lambda: consistency_proof(FULL, 5, 4),
    ):
        with pytest.raises(ValueError, match="size"):
            call()
