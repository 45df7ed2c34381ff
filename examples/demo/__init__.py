"""What the operator does, shown on one machine without Kubernetes: run `make demo`, or `python -m examples.demo`."""
