"""The CustomResourceDefinition of StaticRoute."""

from static_route_operator.api.conditions import ConditionType
from static_route_operator.api.crd.definition import Schema, define
from static_route_operator.api.crd.staticroute_spec import spec_schema
from static_route_operator.api.crd.staticroute_status import status_schema
from static_route_operator.api.staticroute import KIND, PLURAL


def _columns() -> list[Schema]:
    """Return the columns of `kubectl get`; those of priority 1 are shown only with ``-o wide``."""
    ready = f'.status.conditions[?(@.type=="{ConditionType.READY}")].reason'
    return [
        {
            "name": "Destinations",
            "type": "string",
            "jsonPath": ".spec.destinations",
            "description": "Hosts and CIDRs that are routed through the gateway",
            "priority": 1,
        },
        {
            "name": "Gateway",
            "type": "string",
            # Matches spec.gateway or status.gateway, which never exist together.
            "jsonPath": ".*.gateway",
            "description": "Gateways that the destinations are routed through",
        },
        {
            "name": "Routes",
            "type": "integer",
            "jsonPath": ".status.routes",
            "description": "Distinct destinations after excludes",
        },
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.summary",
            "description": "Ready nodes and selected nodes",
        },
        {"name": "Status", "type": "string", "jsonPath": ready, "description": "Reason of the condition Ready"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def custom_resource_definition() -> Schema:
    """Return the CRD."""
    schema = {
        "type": "object",
        "description": "Destinations that every selected node routes through a gateway.",
        "required": ["spec"],
        "properties": {"spec": spec_schema(), "status": status_schema()},
    }
    version = {
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": schema},
    }
    return define(KIND, PLURAL, "sr", version)
