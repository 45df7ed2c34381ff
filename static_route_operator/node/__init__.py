"""The engine of one node, without Kubernetes."""
