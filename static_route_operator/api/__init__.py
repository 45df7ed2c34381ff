"""The Kubernetes objects of this operator: what they hold, what is valid, and the CRD generated from that."""

GROUP = "networking.digitalocean.com"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
