"""A log may only grow, in one way; a roster may only go on. Laws over every pair of trees, and one-entry changes."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust import merkle
from severable_trust.checkpoint import Checkpoint
from severable_trust.errors import LogError, SignatureError
from severable_trust.note import LogSigner, sign_note
from severable_trust.witness import advance_view

SIGNER = LogSigner.generate("log.example")


@dataclass
class Tree:
    """Hashes of a list of leaves."""

    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    size: int = 0

    @classmethod
    def of(cls, leaves: list[bytes]) -> "Tree":
        tree = cls()
        for leaf in leaves:
            for level, index, value in merkle.completed_nodes(tree, tree.size, merkle.leaf_hash(leaf)):
                tree.nodes[level, index] = value
            tree.size += 1
        return tree

    def get(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def note(self, size: int) -> str:
        return sign_note(Checkpoint(SIGNER.key.name, size, merkle.root(self, size)).text, SIGNER)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        return merkle.consistency_proof(self, old, new) if 0 < old < new else ()


LEAVES = [bytes([number]) for number in range(20)]
TREE = Tree.of(LEAVES)


def test_every_pair_of_checkpoints_of_one_growing_log_is_accepted() -> None:
    for new in range(len(LEAVES) + 1):
        for old in range(new + 1):
            taken = advance_view(TREE.note(old), TREE.note(new), TREE.proof(old, new), SIGNER.vkey)
            assert (taken.size, taken.root) == (new, merkle.root(TREE, new))


def test_the_first_sight_is_taken_as_it_is() -> None:
    assert advance_view(None, TREE.note(7), (), SIGNER.vkey).size == 7


@given(old=st.integers(1, 20), more=st.integers(0, 8), data=st.data())
def test_a_change_of_any_entry_already_seen_is_refused(old: int, more: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, old - 1))
    changed = Tree.of([b"changed" if at == place else leaf for at, leaf in enumerate(LEAVES[:old])] + [b"m"] * more)
    new = old + more
    with pytest.raises(LogError, match=r"forked|rewritten"):
        advance_view(TREE.note(old), changed.note(new), changed.proof(old, new), SIGNER.vkey)


@given(old=st.integers(1, 20), data=st.data())
def test_a_shorter_log_is_refused_though_it_is_a_true_prefix(old: int, data: st.DataObject) -> None:
    new = data.draw(st.integers(0, old - 1))
    with pytest.raises(LogError, match="shrank"):
        advance_view(TREE.note(old), TREE.note(new), (), SIGNER.vkey)


def test_a_missing_proof_is_no_proof() -> None:
    with pytest.raises(LogError, match="does not continue"):
        advance_view(TREE.note(3), TREE.note(5), (), SIGNER.vkey)


def test_a_checkpoint_of_another_key_is_refused() -> None:
    other = LogSigner.generate("log.example")
    with pytest.raises((SignatureError, LogError)):
        advance_view(None, TREE.note(3), (), other.vkey)
