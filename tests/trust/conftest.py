"""One federation for all trust tests: its values are frozen, so sharing is safe."""

import pytest
from hypothesis import settings
from trust.log_samples import WholeLog
from trust.samples import Federation, Keys

# A shared machine may be slow for a moment: how long an example takes is no property of the code.
settings.register_profile("severable", deadline=None, max_examples=50)
settings.load_profile("severable")


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.generate()


@pytest.fixture(scope="session")
def federation(keys: Keys) -> Federation:
    return Federation.build(keys)


@pytest.fixture(scope="session")
def log(federation: Federation) -> WholeLog:
    return WholeLog.generate(federation)
