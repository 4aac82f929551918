"""A chunk of an upload on the wire, put together and taken apart without copying its data more often than it must.

protobuf copies a field of bytes twice or more on its way out and twice on its way in, and for a shard's weights that
is much of what both ends do. Its own code still reads and writes everything but the data, which by the order of the
fields is the last thing in a message (Protocol Buffers, "Encoding",
https://protobuf.dev/programming-guides/encoding/).

**Laws.** `Chunk.to_wire` gives the bytes that exchange_pb2.Chunk gives. `Chunk.from_wire` finds what exchange_pb2.Chunk
finds in any bytes, and raises where that raises.
"""

from dataclasses import dataclass
from typing import Final, Self

from severable_protos.v1 import exchange_pb2 as pb

EXCHANGE: Final[str] = pb.DESCRIPTOR.services_by_name["Exchange"].full_name
SEND_CHUNKS: Final[str] = pb.DESCRIPTOR.services_by_name["Exchange"].methods_by_name["SendChunks"].name

_LENGTHS: Final = {pb.Chunk.UPLOAD_FIELD_NUMBER << 3 | 2, pb.Chunk.NAME_FIELD_NUMBER << 3 | 2}  # tags; 2: length, bytes
_OFFSET: Final = pb.Chunk.OFFSET_FIELD_NUMBER << 3  # a varint
_DATA: Final = pb.Chunk.DATA_FIELD_NUMBER << 3 | 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """See exchange.proto."""

    upload: str
    name: str
    offset: int
    data: bytes

    def to_wire(self) -> bytes:
        """The message. ValueError for an offset that is no int64, or text that is no Unicode."""
        head = pb.Chunk(upload=self.upload, name=self.name, offset=self.offset).SerializeToString()
        if not self.data:
            return head
        return b"".join((head, bytes((_DATA,)), _varint(len(self.data)), self.data))

    @classmethod
    def from_wire(cls, message: bytes) -> Self:
        """Read a message. google.protobuf.message.DecodeError."""
        head, begin = _before_data(message)
        chunk = pb.Chunk.FromString(message[:head])
        data = message[begin:] if head < len(message) else chunk.data
        return cls(upload=chunk.upload, name=chunk.name, offset=chunk.offset, data=data)


AnyChunk = Chunk | pb.Chunk  # what a service may be handed: the attributes are the same


def _before_data(message: bytes) -> tuple[int, int]:
    """Where the field of the data begins, and where the data, which goes to the end; the end for any other message.

    No more fields are looked at than a chunk has: a message of a million small ones is protobuf's to read, which is
    quicker at it than this.
    """
    other, at = (len(message), len(message)), 0
    for _ in pb.Chunk.DESCRIPTOR.fields:
        if at >= len(message):
            break
        head, tag = at, message[at]
        length, at = _read_varint(message, at + 1)
        if tag == _DATA:
            return (head, at) if at + length == len(message) else other
        if tag in _LENGTHS:
            at += length
        elif tag != _OFFSET:
            return other
    return other


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first; all bytes but the last have their first bit set."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place and the place after it; a length that goes nowhere where there is none."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 0x7F) << (7 * place)
        if byte <= 0x7F:
            return number, at + place + 1
    return len(message), len(message)
