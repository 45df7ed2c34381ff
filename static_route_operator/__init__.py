"""Operator for static routes: StaticRoute objects in, kernel routes out, on every Kubernetes node."""

__version__ = "1.0.0"
