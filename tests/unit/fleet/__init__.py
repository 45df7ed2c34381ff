"""Unit tests of what is asked of a cluster."""
