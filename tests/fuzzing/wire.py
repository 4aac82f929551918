"""Hostile bytes as protobuf messages, in two ways.

As they go over the wire (a byte that chooses the message, then its bytes), or as protobuf's JSON with a member `which`:
there a change can hit one field, and the JSON inside a field, and the message still parses.
"""

import json
from collections.abc import Sequence

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

_WHICH = "which"


class NoMessageError(Exception):
    """JSON that stands for no message; nothing is sent then."""


def sent(data: bytes, kinds: Sequence[type[Message]]) -> tuple[int, bytes]:
    """Which message these bytes stand for, and what goes over the wire. NoMessageError."""
    if data[:1] != b"{":
        return (data[0] if data else 0) % len(kinds), data[1:]
    try:
        fields = json.loads(data)
        which = int(fields.pop(_WHICH, 0)) % len(kinds)
        return which, json_format.ParseDict(fields, kinds[which]()).SerializeToString()
    except (ValueError, TypeError, OverflowError, RecursionError, SystemError, json_format.ParseError) as error:
        # SystemError: protobuf's own, of a member's name that is no UTF-8. Nothing of ours has been called yet.
        raise NoMessageError("not a message in JSON") from error


def seeds(which: int, message: Message) -> tuple[bytes, ...]:
    """The message in both ways."""
    fields = json_format.MessageToDict(message)
    return (bytes([which]) + message.SerializeToString(), json.dumps({**fields, _WHICH: which}).encode())


def is_message(kind: type[Message], data: bytes) -> bool:
    """Whether protobuf takes these bytes at all."""
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True
