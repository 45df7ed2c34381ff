"""Set-up of the unit tests."""

from hypothesis import settings

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("static-route-operator", deadline=None, database=None, max_examples=50)
settings.load_profile("static-route-operator")
