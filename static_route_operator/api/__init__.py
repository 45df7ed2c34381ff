"""The Kubernetes objects of this operator, their validation, and the CRDs generated from it."""

GROUP = "networking.digitalocean.com"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
