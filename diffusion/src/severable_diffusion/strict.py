"""Strict reading of plain JSON values into frozen dataclasses: no field guessed, none ignored.

Bounds live in the dataclass itself (`whole`, `real`, `word`), so that a value built in code and a value read from a
file pass the same checks.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from severable_diffusion.errors import RecipeError

T = TypeVar("T")

_INEXACT = 2**53  # JSON has no whole numbers from here on (RFC 8785), and far larger ones are no floats at all


def whole(low: int, high: int, default: int | None = None, *, later: bool = False) -> Any:
    """Return a dataclass field for an integer, or a tuple of integers, each within [low, high].

    A `later` field came after values had been kept and named by their bytes: `plain` leaves it out at its default.
    """
    return _field({"low": low, "high": high, "later": later}, default)


def real(low: float, high: float, default: float | None = None, *, later: bool = False) -> Any:
    """Return a dataclass field for a finite float within [low, high]; `later` as in `whole`."""
    return _field({"low": low, "high": high, "later": later}, default)


def word(choices: tuple[str, ...], default: str | None = None, *, later: bool = False) -> Any:
    """Return a dataclass field for a string, or a tuple of strings, each out of `choices`; `later` as in `whole`."""
    return _field({"choices": choices, "later": later}, default)


def _field(bounds: Mapping[str, object], default: object) -> Any:
    if default is None:
        return dataclasses.field(metadata=bounds)
    return dataclasses.field(default=default, metadata=bounds)


def parse(cls: type[T], value: object, where: str = "") -> T:
    """Read `value`, an object of plain JSON values, as an instance of the dataclass `cls`.

    Args:
        cls: a dataclass; nested dataclasses and tuples are read too, and where there are several dataclasses to choose
            from, the one whose `kind` the object names.
        value: what `json.loads` gave.
        where: dotted name of the place, for messages.

    Raises:
        RecipeError: naming the first field that is unknown, missing, of another type or out of bounds.
    """
    if not isinstance(value, Mapping):
        raise RecipeError(where or "(whole)", f"must be an object, is {type(value).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cast("Any", cls))}
    for name in value:
        if name not in fields:
            raise RecipeError(_join(where, str(name)), f"is not a field; known are {', '.join(sorted(fields))}")
    types_ = typing.get_type_hints(cls)
    arguments: dict[str, object] = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _read(types_[name], value[name], _join(where, name))
        elif field.default is dataclasses.MISSING:
            raise RecipeError(_join(where, name), "is missing")
    return cls(**arguments)


def _read(kind: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(kind):
        return parse(cast("type[object]", kind), value, where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(where, f"must be a list, is {type(value).__name__}")
        return tuple(_read(typing.get_args(kind)[0], item, where) for item in value)
    if isinstance(kind, types.UnionType):
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        if value is None and len(options) < len(typing.get_args(kind)):
            return None
        return _read(options[0] if len(options) == 1 else _named(options, value, where), value, where)
    if type(value) is int and abs(value) >= _INEXACT:
        raise RecipeError(where, "is a whole number of 2^53 or more")
    if kind is float and type(value) is int:
        return float(value)  # JSON has one kind of number, and canonical JSON writes 1.0 as 1
    if type(value) is not kind:
        raise RecipeError(where, f"must be a {kind.__name__}, is {type(value).__name__}")
    return value


def _named(options: list[Any], value: object, where: str) -> Any:
    """Return the dataclass whose `kind` an object names, the first where it names none."""
    if not isinstance(value, Mapping) or "kind" not in value:
        return options[0]
    fields = ((option, field) for option in options for field in dataclasses.fields(option) if field.name == "kind")
    kinds = {word: option for option, field in fields for word in field.metadata["choices"]}
    named = value["kind"]
    if not isinstance(named, str) or named not in kinds:
        raise RecipeError(_join(where, "kind"), f"is {named!r}; choose one of {', '.join(kinds)}")
    return kinds[named]


def check(instance: object, where: str = "") -> None:
    """Check every bounded field of a dataclass instance.

    Raises:
        RecipeError: naming the first field out of its bounds.
    """
    for field in dataclasses.fields(cast("Any", instance)):
        value = getattr(instance, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            _check_one(item, field.metadata, _join(where, field.name))


def _check_one(value: object, bounds: Mapping[str, Any], where: str) -> None:
    if value is None:
        return
    if "choices" in bounds and value not in bounds["choices"]:
        raise RecipeError(where, f"is {value!r}; choose one of {', '.join(bounds['choices'])}")
    if "low" in bounds:
        number = cast("float", value)
        if not (math.isfinite(number) and bounds["low"] <= number <= bounds["high"]):
            raise RecipeError(where, f"is {number}; must be between {bounds['low']} and {bounds['high']}")


def plain(value: object) -> Any:
    """Return a dataclass instance as plain JSON values, the inverse of `parse`.

    An optional part that is not there, and a `later` field at its default, are left out, so values from before there
    was such a part keep their bytes.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: plain(one) for field, one in pairs if not _left_out(field, one)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def _left_out(field: dataclasses.Field[Any], value: object) -> bool:
    if value is None:
        return field.default is None
    return bool(field.metadata.get("later")) and value == field.default


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
