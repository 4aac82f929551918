"""Fields of a YAML file, each checked for its kind and range; what is wrong is one line with the file and the field."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from severable_client.errors import ConfigError

DAY = 1440  # minutes

_Word = TypeVar("_Word", bound=StrEnum)


class Fields:
    """The fields of one file; every method raises ConfigError for a value that it does not take.

    Args:
        path: the file, for messages.
        given: what it holds.
    """

    def __init__(self, path: Path, given: Mapping[object, object]) -> None:
        self._path = path
        self._given = given

    @classmethod
    def parse(cls, path: Path, text: str) -> "Fields":
        """Return the fields in a file's text.

        Raises:
            ConfigError: it is not YAML, or no fields.
        """
        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(given, dict):
            raise ConfigError(f"{path} does not hold fields: one `name: value` a line")
        return cls(path, given)

    def require_known(self, known: frozenset[str]) -> None:
        """Refuse a field that nobody reads."""
        for name in self._given:
            if name not in known:
                raise ConfigError(f"{self._path}: unknown field {name!r}; known are {', '.join(sorted(known))}")

    def name(self, name: str) -> str:
        """Return a text that must be there and not be empty."""
        value = self._given.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "text", value)
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text, which may be empty."""
        value = self._given.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "text", value)
        return value

    def pattern(self, name: str, default: str, pattern: re.Pattern[str], says: str) -> str:
        """Return a text of a certain form; `says` is the form in words."""
        value = self._given.get(name, default)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(name, says, value)
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        value = self._given.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}", value)
        return value

    def minutes(self, name: str, default: float, least: float) -> float:
        """Return minutes from `least` to a day's."""
        value = self._given.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= DAY:
            raise self._wrong(name, f"minutes from {least:g} to {DAY}", value)
        return float(value)

    def switch(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._given.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def word(self, name: str, default: _Word) -> _Word:
        """Return one of the words that the default is one of."""
        words = type(default)
        value = self._given.get(name, default)
        if not isinstance(value, str) or value not in set(words):
            raise self._wrong(name, " or ".join(words), value)
        return words(value)

    def _wrong(self, name: str, wanted: str, value: object) -> ConfigError:
        return ConfigError(f"{self._path}: field {name!r} must be {wanted} and is {value!r}")
