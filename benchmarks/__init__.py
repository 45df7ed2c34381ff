"""Benchmarks: medians, measured on the real thing."""
