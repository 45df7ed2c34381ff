"""Tests: unit, kernel, cluster and e2e, and the lab the last two run in."""
