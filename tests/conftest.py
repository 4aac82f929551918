"""What every test shares: examples of Hypothesis have no deadline, for a busy machine is no mistake in the program."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
