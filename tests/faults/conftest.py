"""What the fault tests share: one coordinator for all of them, since starting it costs most."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from faults.ground import Ground
from faults.owner import Owner

from severable_coordinator.ports import RecipeRecord

Joining = Callable[[RecipeRecord], AbstractContextManager[Owner]]


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground.founded(tmp_path_factory.mktemp("faults"))
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def joined(request: pytest.FixtureRequest, ground: Ground, tmp_path: Path) -> Joining:
    """Lets an owner, named after the test or its case, join and sign a contract over a recipe."""
    case = request.node.name.removeprefix("test_").rpartition("[")[2]
    party = re.sub(r"[^a-z0-9]+", "-", case.lower()).strip("-")[:32].strip("-")
    return lambda recipe: Owner.joined(party, ground, tmp_path, recipe)
