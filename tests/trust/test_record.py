from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.canonical import decode, encode
from severable_trust.digest import Digest
from severable_trust.errors import StatementError
from severable_trust.keys import PemSigner, PublicKey
from severable_trust.record import from_plain, to_plain


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    text: str
    count: int
    yes: bool
    digest: Digest
    moment: datetime
    key: PublicKey
    colour: Colour
    inner: Inner
    many: tuple[Inner, ...]
    pairs: tuple[tuple[str, str], ...]
    maybe: Digest | None
    renamed: str = field(metadata={"json": "@name"})


KEY = PemSigner.generate().public_key
LETTERS = st.text("abcxyz -\u00e4", max_size=5)
SHARES = st.floats(allow_nan=False, allow_infinity=False).map(Inner)
DIGESTS = st.binary(max_size=4).map(Digest.of)
OUTERS = st.builds(
    Outer,
    text=LETTERS,
    count=st.integers(-(2**53) + 1, 2**53 - 1),
    yes=st.booleans(),
    digest=DIGESTS,
    moment=st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)),
    key=st.just(KEY),
    colour=st.just(Colour.RED),
    inner=SHARES,
    many=st.lists(SHARES, max_size=2).map(tuple),
    pairs=st.dictionaries(LETTERS, LETTERS, max_size=2).map(lambda pairs: tuple(sorted(pairs.items()))),
    maybe=st.none() | DIGESTS,
    renamed=LETTERS,
)
SAMPLE = Outer(
    text="a",
    count=1,
    yes=True,
    digest=Digest.of(b""),
    moment=datetime(2026, 1, 1, tzinfo=UTC),
    key=KEY,
    colour=Colour.RED,
    inner=Inner(0.5),
    many=(Inner(1.0),),
    pairs=(("a", "b"),),
    maybe=None,
    renamed="r",
)


@given(OUTERS)
def test_a_value_survives_its_json(value: Outer) -> None:
    assert from_plain(Outer, decode(encode(to_plain(value)), "outer"), "outer") == value


@pytest.mark.parametrize("name", sorted(to_plain(SAMPLE)))
def test_a_missing_field_is_named(name: str) -> None:
    plain = to_plain(SAMPLE)
    del plain[name]
    with pytest.raises(StatementError, match=f"^outer: field '{name}' is missing$"):
        from_plain(Outer, plain, "outer")


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(StatementError, match=r"^outer: field 'more' is unknown$"):
        from_plain(Outer, {**to_plain(SAMPLE), "more": 1}, "outer")


WRONG: list[tuple[str, Any]] = [
    ("text", 1),
    ("text", None),
    ("text", "two\nlines"),
    ("text", "\x1b[2J"),
    ("text", "\u202eright to left"),
    ("count", 1.5),
    ("count", True),
    ("count", "1"),
    ("yes", 1),
    ("digest", "sha256:00"),
    ("digest", 0),
    ("moment", "2026-01-01"),
    ("key", "-----BEGIN PUBLIC KEY-----"),
    ("key", KEY.pem + "\n"),
    ("colour", "blue"),
    ("colour", None),
    ("inner", {"share": True}),
    ("inner", {"share": "0.5"}),
    ("inner", {}),
    ("inner", [0.5]),
    ("many", {}),
    ("many", [{}]),
    ("pairs", [["a", "b"]]),
    ("pairs", {"a": 1}),
    ("maybe", ""),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_field_of_the_wrong_type_is_named(name: str, wrong: object) -> None:
    with pytest.raises(StatementError, match=rf"^outer\.{name}") as caught:
        from_plain(Outer, {**to_plain(SAMPLE), name: wrong}, "outer")
    assert "\n" not in str(caught.value)


def test_a_field_is_named_by_its_place_in_a_list() -> None:
    plain = {**to_plain(SAMPLE), "many": [{"share": 1}, {"share": None}]}
    with pytest.raises(StatementError, match=r"^outer.many\[1\].share: not a number$"):
        from_plain(Outer, plain, "outer")


def test_a_type_that_statements_do_not_have_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="bytes"):
        to_plain(b"")
