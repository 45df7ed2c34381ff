"""Unit tests of ``static_route_operator.api``."""
