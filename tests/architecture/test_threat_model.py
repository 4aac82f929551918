"""docs/threat-model.md has no row without a test, and names no test that is not there."""

from pathlib import Path

import pytest
from architecture.threat_table import HEAD, Row, functions, has_tests, rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
ROWS = rows(PAGE)


def test_the_page_has_one_table_of_attacks() -> None:
    assert PAGE.count(HEAD) == 1
    assert len(ROWS) >= 40
    assert len({row.attack for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.attack[:60] for row in ROWS])
def test_a_row_has_an_attack_a_defence_and_tests_that_exist(row: Row) -> None:
    assert row.attack
    assert row.defence
    assert row.tests, "no test is named"
    for path, function in row.tests:
        assert function in functions(ROOT / path), f"{path} has no {function}"


def test_every_mounted_attack_is_in_the_table() -> None:
    named = {path for row in ROWS for path, _ in row.tests}
    mounted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    assert mounted <= named


def test_a_row_that_names_a_test_that_is_not_there_is_found_out() -> None:
    bogus = f"{HEAD}\n|---|---|---|\n| a | b | `tests/trust/test_merkle.py::test_nothing_of_the_kind` |"
    unnamed = f"{HEAD}\n|---|---|---|\n| a | b | none yet |"
    for page in (bogus, unnamed):
        assert [has_tests(row, ROOT) for row in rows(page)] == [False]
