"""The frame of all CustomResourceDefinitions of this operator."""

from collections.abc import Mapping
from typing import Any

from static_route_operator.api import GROUP, VERSION

Schema = dict[str, Any]


def define(kind: str, plural: str, short_name: str, version: Mapping[str, Any]) -> Schema:
    """Return the CRD of a cluster-scoped kind.

    Args:
        kind: in CamelCase.
        plural: in lower case.
        short_name: for kubectl.
        version: columns, subresources and schema of the only version.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
            },
            "versions": [{"name": VERSION, "served": True, "storage": True, **version}],
        },
    }
