from collections.abc import Iterator
from pathlib import Path

import pytest
from coordinator.command_line import Cli

from severable_coordinator.adapters.sql.database import Database


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(None if request.param == "memory" else tmp_path / "test.db")
    yield made
    made.close()
