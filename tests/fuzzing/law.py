"""What every parser owes: of any bytes a value or its own error with one line, and no other exception.

A target names a parser, the error family that is its own, seeds to start from, and how a value is written back. Where
one value has one spelling, `write` gives the bytes that were read; where it has several, `write` is None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parents[1] / "vectors" / "fuzz"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One parser under test.

    Attributes:
        name: of the target, and of the folder under tests/vectors/fuzz with what was found.
        read: the parser.
        errors: what it may raise.
        seeds: valid inputs.
        write: the bytes of a value, or None where that law does not hold.
    """

    name: str
    read: Callable[[bytes], Any]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], tuple[bytes, ...]]
    write: Callable[[Any], bytes] | None = None

    def check(self, data: bytes) -> bool:
        """Hold these bytes against the law; whether the parser took them. AssertionError, or what escaped."""
        try:
            value = self.read(data)
        except self.errors as error:
            line = str(error)
            assert line, f"{self.name}: an error without a word"
            assert line.isprintable(), f"{self.name}: the error is not one printable line: {line!r}"
            return False
        if self.write is not None:
            assert self.write(value) == data, f"{self.name}: was taken in another spelling than its own"
        return True

    def found(self) -> tuple[bytes, ...]:
        """The inputs that once broke the law, kept so that they never do again."""
        return tuple(path.read_bytes() for path in sorted((FOUND / self.name).glob("*")))
