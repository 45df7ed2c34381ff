"""The engine fed from a directory of manifests, without Kubernetes."""
