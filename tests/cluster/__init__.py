"""Tests on a real API server, with agents as processes."""
