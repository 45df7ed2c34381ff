"""Static routes on Kubernetes nodes: StaticRoute objects in, kernel routes out, on every node."""

__version__ = "1.0.0"
