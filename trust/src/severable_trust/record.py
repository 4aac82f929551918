"""How a frozen dataclass becomes a JSON object and back: one strict rule for every statement, read off its fields.

    str, int, float, bool      themselves (text without control characters; an int stands for a float)
    Digest                     "sha256:..."
    datetime                   "YYYY-MM-DDTHH:MM:SSZ"
    PublicKey                  PEM text
    StrEnum                    its value
    tuple[X, ...]              list of X
    tuple[tuple[str, str], ...]  object of text members, sorted by key
    X | None                   X or null; with None as the field's default, X or no member at all
    dataclass                  object with exactly its fields; a field's metadata {"json": name} renames it

Law: `from_plain(type(v), to_plain(v), where) == v` for every value whose constructor accepts it.
"""

import types
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.instant import format_instant, parse_instant
from severable_trust.keys import PublicKey

T = TypeVar("T")

_PAIRS = tuple[tuple[str, str], ...]


def to_plain(value: Any) -> Any:
    """The JSON form (dict, list, str, int, float, bool, None) of a value of the table above.

    Raises:
        MalformedError: a time that is not UTC in whole seconds.
        ValueError: a type that the table does not have.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Digest):
        return str(value)
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, PublicKey):
        return value.pem
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if is_dataclass(value):
        kind: Any = type(value)
        hints = _hints(kind)
        values = {f: getattr(value, f.name) for f in fields(value)}
        written = {f: one for f, one in values.items() if not (one is None and f.default is None)}
        return {_key(f): _field_plain(hints[f.name], one) for f, one in written.items()}
    raise ValueError(f"{type(value).__name__} has no place in a statement")


def from_plain(cls: type[T], data: object, where: str) -> T:
    """The value of dataclass `cls` that a decoded JSON object holds.

    Args:
        cls: a frozen dataclass whose fields are of the types of the table above.
        data: what `canonical.decode` returned, or a part of it.
        where: the object's name, in front of the field's in an error.

    Raises:
        StatementError: a field is missing, unknown, of another type or refused by its type; the message names it.
    """
    kind: Any = cls
    known = {_key(f): f.name for f in fields(kind)}
    if not isinstance(data, dict):
        raise StatementError(f"{where}: not an object")
    optional = {_key(f) for f in fields(kind) if f.default is None}
    for name in known.keys() - data.keys() - optional:
        raise StatementError(f"{where}: field {name!r} is missing")
    for name in data.keys() - known.keys():
        raise StatementError(f"{where}: field {name!r} is unknown")
    for name in sorted(optional):
        if name in data and data[name] is None:  # one value has one form
            raise StatementError(f"{where}: field {name!r} is null, leave it out")
    hints = _hints(kind)
    present = known.keys() & data.keys()
    values = {known[name]: _read(hints[known[name]], data[name], f"{where}.{name}") for name in present}
    try:
        return cls(**values)
    except MalformedError as error:
        raise StatementError(f"{where}: {error}") from error


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _key(item: Field[Any]) -> str:
    return str(item.metadata.get("json", item.name))


def _field_plain(hint: object, value: Any) -> Any:
    return dict(value) if hint == _PAIRS else to_plain(value)


def _read(hint: Any, data: object, where: str) -> object:
    if (scalar := _SCALARS.get(hint)) is not None:
        return scalar(data, where)
    if hint == _PAIRS:
        return _read_pairs(data, where)
    if get_origin(hint) is tuple:
        return _read_list(get_args(hint)[0], data, where)
    if get_origin(hint) in {Union, types.UnionType}:
        inner = next(option for option in get_args(hint) if option is not types.NoneType)
        return None if data is None else _read(inner, data, where)
    if issubclass(hint, StrEnum):
        return _read_enum(hint, data, where)
    return from_plain(hint, data, where)


def _read_text(data: object, where: str) -> str:
    if not isinstance(data, str):
        raise StatementError(f"{where}: not text")
    # Statements are shown on terminals: a control character could rewrite what a reader sees.
    if not data.isprintable():
        raise StatementError(f"{where}: holds a control or invisible character, write it as plain one-line text")
    return data


def _read_int(data: object, where: str) -> int:
    if not isinstance(data, int) or isinstance(data, bool):
        raise StatementError(f"{where}: not a whole number")
    return data


def _read_float(data: object, where: str) -> float:
    if not isinstance(data, (int, float)) or isinstance(data, bool):
        raise StatementError(f"{where}: not a number")
    return float(data)


def _read_bool(data: object, where: str) -> bool:
    if not isinstance(data, bool):
        raise StatementError(f"{where}: not true or false")
    return data


def _parsed(parse: Callable[[str], T]) -> Callable[[object, str], T]:
    """A reader that takes text through a parser of this package and names the field when the parser refuses."""

    def read(data: object, where: str) -> T:
        if not isinstance(data, str):
            raise StatementError(f"{where}: not text")
        try:
            return parse(data)
        except MalformedError as error:
            raise StatementError(f"{where}: {error}") from error

    return read


def _read_pem(data: object, where: str) -> PublicKey:
    key = _parsed(PublicKey.from_pem)(data, where)
    if key.pem != data:
        raise StatementError(f"{where}: PEM is not in its canonical form")
    return key


def _read_list(item: Any, data: object, where: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise StatementError(f"{where}: not a list")
    return tuple(_read(item, entry, f"{where}[{place}]") for place, entry in enumerate(data))


def _read_pairs(data: object, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(data, dict):
        raise StatementError(f"{where}: not an object")
    return tuple((_read_text(name, where), _read_text(data[name], f"{where}.{name}")) for name in sorted(data))


def _read_enum(kind: type[StrEnum], data: object, where: str) -> StrEnum:
    try:
        return kind(_read_text(data, where))
    except ValueError as error:
        raise StatementError(f"{where}: {data!r} is none of {', '.join(kind)}") from error


_SCALARS: dict[object, Callable[[object, str], object]] = {
    str: _read_text,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    Digest: _parsed(Digest.parse),
    datetime: _parsed(parse_instant),
    PublicKey: _read_pem,
}
