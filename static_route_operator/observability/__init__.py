"""What this program shows of itself: metrics, probes, logs."""
