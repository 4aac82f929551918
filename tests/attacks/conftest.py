"""One coordinator with two parties for every attack: real gRPC, real TLS, real SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from coordinator.served import Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", "archive", "clinic") as made:
        yield made
