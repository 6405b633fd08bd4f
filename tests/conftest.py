"""What holds for all tests."""

from hypothesis import settings

# How long an example takes is no property of the code: the first one compiles,
# and the machine may be busy.
settings.register_profile("scqc", deadline=None)
settings.load_profile("scqc")
