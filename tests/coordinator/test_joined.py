"""Pieces as one stream: the same bytes as their sum, however they are cut and asked for."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_coordinator.joined import Joined


@given(st.lists(st.binary(min_size=1, max_size=9)), st.lists(st.integers(0, 12), max_size=20))
def test_whatever_is_asked_for_comes_as_from_one_file(pieces: list[bytes], sizes: list[int]) -> None:
    joined, whole = Joined(lambda: iter(pieces)), io.BytesIO(b"".join(pieces))
    for size in sizes:
        assert joined.read(size) == whole.read(size)
    assert joined.read() == whole.read()
    assert joined.read(5) == b""
    joined.seek(0)
    assert joined.read() == whole.getvalue()


def test_it_goes_back_to_its_start_only() -> None:
    joined = Joined(lambda: iter([b"abc"]))
    for offset, whence in ((1, io.SEEK_SET), (0, io.SEEK_CUR), (0, io.SEEK_END)):
        with pytest.raises(io.UnsupportedOperation, match="start only"):
            joined.seek(offset, whence)
