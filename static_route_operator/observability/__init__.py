"""Metrics, probes and logs of this program."""
