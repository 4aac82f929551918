import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.canonical import decode, encode
from severable_trust.errors import MalformedError

NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_survives_its_bytes(value: object) -> None:
    data = encode(value)
    again = decode(data, "value")
    assert again == value
    assert encode(again) == data


@given(VALUES)
def test_the_bytes_are_json_for_any_other_parser(value: object) -> None:
    # As floats, since the canonical form writes a large float like a large int.
    assert json.loads(encode(value), parse_int=float) == value


def test_the_example_of_the_rfc_comes_out_as_the_rfc_says() -> None:
    # RFC 8785, section 3.2.2 (input) and 3.2.3 (output, in UTF-8).
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert encode(value) == expected.encode()


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert encode(number) == text.encode()
    assert decode(text.encode(), "number") == number


def test_keys_are_sorted_by_utf_16_as_the_rfc_says() -> None:
    # RFC 8785, section 3.2.3: sorting by code point would put the emoji last.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(encode(dict.fromkeys(keys, 0)))) == ordered


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{}\n",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1.0",
        b"1e0",
        b"-0",
        b"01",
        b"1e400",
        b"9007199254740993",
        b"1" * 5000,
        b'"\\u0041"',
        b'"\\/"',
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"[" * 5000 + b"]" * 5000,
        b"{}{}",
    ],
)
def test_bytes_in_any_other_form_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data, "value")


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, -(2**53), {1: 2}, b"", {"a"}, "\ud800", {"\ud800": 1}]
)
def test_a_value_without_a_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        encode(value)


def test_bytes_over_the_cap_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(MalformedError, match="at most 10"):
        decode(b"[" * 11, "value", max_bytes=10)
    assert decode(b'"12345678"', "value", max_bytes=10) == "12345678"
