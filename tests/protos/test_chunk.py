"""A chunk on the wire: the same bytes as protobuf's own, and the same reading of any bytes."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from severable_protos.chunk import EXCHANGE, SEND_CHUNKS, Chunk
from severable_protos.v1 import exchange_pb2 as pb

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FIELDS = {"upload": st.text(max_size=70), "name": st.text(max_size=20), "offset": INT64}
VARINTS = st.lists(st.integers(0x80, 0xFF), max_size=11).map(lambda high: bytes(high) + b"\x01")
# Fields in any order, doubled, of other types or numbers, with lengths that lie.
PIECES = st.one_of(
    st.sampled_from(
        [b"\x0a", b"\x12", b"\x18", b"\x22", b"\x20", b"\x13", b"\x14", b"\x0d", b"\x09", b"\x2a", b"\xa2\x01"]
    ),
    st.sampled_from([b"\x00", b"\x01a", b"\x02ab", b"\x01\xff", b"\x81\x00a", b"\x81\x80\x80\x80\x80\x00a"]),
    st.binary(max_size=6),
    VARINTS,
)


def read(message: bytes) -> tuple[str, str, int, bytes] | None:
    try:
        chunk = Chunk.from_wire(message)
    except DecodeError:
        return None
    return chunk.upload, chunk.name, chunk.offset, chunk.data


def read_by_protobuf(message: bytes) -> tuple[str, str, int, bytes] | None:
    try:
        chunk = pb.Chunk.FromString(message)
    except DecodeError:
        return None
    return chunk.upload, chunk.name, chunk.offset, chunk.data


@given(**FIELDS, data=st.binary(max_size=300))
@example(upload="u", name="n", offset=0, data=b"x" * 127)
@example(upload="u", name="n", offset=0, data=b"x" * 128)
@example(upload="", name="", offset=0, data=b"x" * (1 << 14))
@example(upload="", name="", offset=-1, data=b"")
def test_a_chunk_is_written_and_read_as_protobuf_writes_and_reads_it(
    upload: str, name: str, offset: int, data: bytes
) -> None:
    chunk = Chunk(upload=upload, name=name, offset=offset, data=data)
    message = pb.Chunk(upload=upload, name=name, offset=offset, data=data).SerializeToString()
    assert chunk.to_wire() == message
    assert Chunk.from_wire(message) == chunk


@given(st.lists(PIECES, max_size=12).map(b"".join))
@example(b"\x22\x01a\x22\x01b")  # the last one counts
@example(b"\x22\x01a\x0a\x01u")  # the data is not last
@example(b"\x0a\x05\x22\x01a\x22\x01b")  # a field that holds what looks like data
@example(b"\x22\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00a")  # a length in ten bytes
@example(b"\x22\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02a")  # more than 64 bits
@example(b"\x18" + b"\xff" * 10)
@example(b"\x0a\x00" * 3 + b"\x22\x01a")  # as many fields as a chunk has
@example(b"\x0a\x00" * 4 + b"\x22\x01a")
@example(b"\x0a\x00" * 100_000 + b"\x22\x01a")
@example(b"\x22\x05ab")
@example(b"\x22")
def test_any_bytes_are_read_or_refused_as_protobuf_reads_or_refuses_them(message: bytes) -> None:
    assert read(message) == read_by_protobuf(message)


@given(kept=st.integers(0, 200), **FIELDS, data=st.binary(max_size=100))
def test_a_message_that_was_cut_off_is_read_as_protobuf_reads_it(
    kept: int, upload: str, name: str, offset: int, data: bytes
) -> None:
    message = Chunk(upload=upload, name=name, offset=offset, data=data).to_wire()[:kept]
    assert read(message) == read_by_protobuf(message)


@pytest.mark.parametrize(("name", "offset", "line"), [("n", 1 << 63, "out of range"), ("\ud800", 0, "surrogates")])
def test_what_no_message_can_hold_is_refused_on_its_way_out(name: str, offset: int, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Chunk(upload="u", name=name, offset=offset, data=b"").to_wire()


def test_the_method_that_takes_chunks_is_the_one_of_the_proto() -> None:
    assert f"/{EXCHANGE}/{SEND_CHUNKS}" == "/severable.v1.Exchange/SendChunks"
