"""Reads docs/threat-model.md's table: an attack, the defence, and the tests that mount the attack."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HEAD = "| attack | defence | test |"
_TEST = re.compile(r"`(tests/[^`]+\.py)::([A-Za-z0-9_]+)`")
_CELLS = 3


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        attack: what is tried.
        defence: what stands against it.
        tests: file and function of every test that tries it.
    """

    attack: str
    defence: str
    tests: tuple[tuple[str, str], ...]


def rows(page: str) -> list[Row]:
    """The rows of the one table with the known head."""
    lines = iter(page.splitlines())
    for line in lines:
        if line.strip() == HEAD:
            break
    next(lines, None)  # the rule below the head
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        assert len(cells) == _CELLS, f"not three cells: {line}"
        found.append(Row(cells[0], cells[1], tuple(_TEST.findall(cells[2]))))
    return found


def has_tests(row: Row, root: Path) -> bool:
    """Whether the row names a test, and every test it names is there."""
    return bool(row.tests) and all(function in functions(root / path) for path, function in row.tests)


@cache
def functions(path: Path) -> frozenset[str]:
    """The test functions that a file defines."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in names if name.startswith("test_"))
