"""The CustomResourceDefinition of StaticRoute."""

from static_route_operator.api.conditions import ConditionType
from static_route_operator.api.crd.definition import Schema, define
from static_route_operator.api.crd.staticroute_spec import spec_schema
from static_route_operator.api.crd.staticroute_status import status_schema
from static_route_operator.api.staticroute import KIND, PLURAL


def _columns() -> list[Schema]:
    """What `kubectl get` shows; those of priority 1 with ``-o wide`` only."""
    ready = f'.status.conditions[?(@.type=="{ConditionType.READY}")].reason'
    return [
        {
            "name": "Destinations",
            "type": "string",
            "jsonPath": ".spec.destinations",
            "description": "Hosts and CIDRs routed through the gateway",
            "priority": 1,
        },
        {
            "name": "Gateway",
            "type": "string",
            # Of spec and status: never in both.
            "jsonPath": ".*.gateway",
            "description": "Gateways to route through",
        },
        {
            "name": "Routes",
            "type": "integer",
            "jsonPath": ".status.routes",
            "description": "Destinations, equal ones counted once",
        },
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.summary",
            "description": "Ready nodes of selected nodes",
        },
        {"name": "Status", "type": "string", "jsonPath": ready, "description": "Reason of the condition Ready"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def custom_resource_definition() -> Schema:
    """The CRD as a JSON object, ready to be written as YAML."""
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
