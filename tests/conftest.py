"""What every test shares: examples of Hypothesis have no deadline, for a busy machine is no mistake in the program."""

import gc

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Leave out of the garbage collector's walks what collecting the tests has loaded: it stays to the end."""
    gc.collect()
    gc.freeze()
