"""The one byte encoding that is ever signed: JSON in the canonical form of RFC 8785 (JCS).

Laws: `encode(decode(b, what)) == b` for every `b` that `decode` accepts, and `decode(encode(v), what) == v` for every
value made of dicts with string keys, lists, strings, booleans, None and finite numbers (a float without a fraction
comes back as an equal int).

So there is exactly one accepted sequence of bytes for a value: no white space, no second spelling, no repeated key.
"""

import json
from typing import Any, NoReturn

import rfc8785

from severable_trust.errors import MalformedError

MAX_BYTES = 1 << 20
_EXACT = float(2**53)  # from here on a JSON number is not an exact integer (RFC 8785, appendix D)


def encode(value: Any) -> bytes:
    """The canonical bytes of a JSON value (dict, list, tuple, str, int, float, bool, None).

    Raises:
        MalformedError: NaN, an infinity, an integer of 2**53 or more, a key that is not text, another type.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise MalformedError(f"value has no canonical JSON form: {_said(error)}") from error


def decode(data: bytes, what: str, max_bytes: int = MAX_BYTES) -> object:
    """The value that canonical JSON bytes hold.

    Args:
        data: the bytes, which must be exactly what `encode` makes of the value.
        what: what they are meant to be, for the error's text.
        max_bytes: longest input that is looked at.

    Raises:
        MalformedError: too long, not UTF-8, not JSON, a repeated key, or another spelling than the canonical one.
    """
    value = decode_any_form(data, what, max_bytes)
    if encode(value) != data:
        raise MalformedError(f"{what}: JSON is not in its canonical form (RFC 8785)")
    return value


def decode_any_form(data: bytes, what: str, max_bytes: int = MAX_BYTES) -> object:
    """The value that JSON bytes hold, in whichever spelling: for a caller that compares the bytes itself.

    Raises:
        MalformedError: too long, not UTF-8, not JSON, or a repeated key.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {max_bytes} are accepted")
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_int=_number,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what}: not JSON: {_said(error)}") from error
    return value


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object of these members; the standard parser would silently keep the last of two equal keys.

    Raises:
        ValueError: a key occurs twice (as an `object_pairs_hook`, inside the parser's own family of errors).
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return members


def _number(digits: str) -> int | float:
    value = float(digits)
    return int(digits) if abs(value) < _EXACT else value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _said(error: Exception) -> str:
    return str(error)[:160] or type(error).__name__
