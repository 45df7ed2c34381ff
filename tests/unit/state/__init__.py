"""Unit tests of what outlives the process."""
