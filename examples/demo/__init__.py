"""Demo of the operator on one machine, without Kubernetes: run `make demo`, or `python -m examples.demo`."""
