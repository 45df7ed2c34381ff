"""The versions of the programs that the lab builds, and so the versions of Kubernetes that the project promises.

Every promise in the chart, the README and the docs follows this page; `make check` compares them.
"""

import os

OLDEST_KUBERNETES = "v1.32.0"
NEWEST_KUBERNETES = "v1.37.2"
PROMISED = OLDEST_KUBERNETES, NEWEST_KUBERNETES
KUBERNETES = os.environ.get("KUBE_VERSION") or NEWEST_KUBERNETES
"""The version of a cluster unless another one is asked for."""

# One etcd serves every API server: the protocol between the two has not changed since etcd 3.
ETCD = "v3.7.3"
HELM = "v4.3.1"
