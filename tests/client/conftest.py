"""What the client's tests share: one federation, made once; its values are frozen."""

import pytest
from client.samples import Federation


@pytest.fixture(scope="session")
def federation() -> Federation:
    return Federation.make()
