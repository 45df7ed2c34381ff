"""Unit tests of what is asked on a host."""
