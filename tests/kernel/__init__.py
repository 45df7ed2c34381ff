"""Tests on the real kernel, each in a network namespace of its own (root)."""
