import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.samples import Federation

from severable_trust.canonical import encode
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.errors import MalformedError
from severable_trust.record import to_plain
from severable_trust.statement import Kind

ENTRIES = st.builds(
    LogEntry,
    kind=st.sampled_from(Kind),
    statement=st.binary(max_size=4).map(Digest.of),
    signers=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1, max_size=3, unique=True).map(
        lambda signers: tuple(sorted(signers))
    ),
)
DIGEST = "sha256:" + "0" * 64


@given(ENTRIES)
def test_an_entry_survives_its_leaf(entry: LogEntry) -> None:
    assert LogEntry.parse(entry.leaf) == entry
    assert LogEntry.parse(entry.leaf).leaf == entry.leaf


@given(st.sampled_from(Kind), st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, unique=True))
def test_a_leaf_is_the_entrys_canonical_json_whatever_its_signers_are_called(kind: Kind, signers: list[str]) -> None:
    entry = LogEntry(kind=kind, statement=Digest.of(b""), signers=tuple(sorted(signers)))
    assert entry.leaf == encode(to_plain(entry))


def test_an_entry_names_the_statement_and_its_signers_and_nothing_else(federation: Federation) -> None:
    entry = LogEntry.of(federation.contract)
    assert (entry.kind, entry.statement, entry.signers) == (
        Kind.CONTRACT,
        federation.contract.id,
        federation.contract.signers,
    )
    assert b"Alice" not in entry.leaf


@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"{}",
        b'{"kind":"receipt","signers":[],"statement":"%s"}' % DIGEST.encode(),
        b'{"kind":"receipt","signers":["b","a"],"statement":"%s"}' % DIGEST.encode(),
        b'{"kind":"receipt","signers":["a","a"],"statement":"%s"}' % DIGEST.encode(),
        b'{"kind":"other","signers":["a"],"statement":"%s"}' % DIGEST.encode(),
        b'{"kind":"receipt","signers":["a"],"statement":"00"}',
        b'{"body":1,"kind":"receipt","signers":["a"],"statement":"%s"}' % DIGEST.encode(),
    ],
)
def test_bytes_that_are_no_entry_are_refused(leaf: bytes) -> None:
    with pytest.raises(MalformedError):
        LogEntry.parse(leaf)
