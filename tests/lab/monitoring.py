"""The kinds of the Prometheus Operator, without it: an API server takes any object of them."""

import yaml

_KINDS = {"podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule"}
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definitions() -> str:
    """Return the CustomResourceDefinitions as YAML."""
    crds = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com",
                "names": {"plural": plural, "kind": kind},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _ANYTHING}}],
            },
        }
        for plural, kind in _KINDS.items()
    ]
    return yaml.safe_dump_all(crds)
