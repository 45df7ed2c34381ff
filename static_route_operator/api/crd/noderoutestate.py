"""The CustomResourceDefinition of NodeRouteState, generated.

It has no status subresource: only its node's agent writes the object, and so creates and fills it with one request.
"""

from static_route_operator.api.crd.definition import Schema, define
from static_route_operator.api.noderoutestate import KIND, MAX_MESSAGE_LENGTH, PLURAL, GatewayState, RowState


def _count(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _row() -> Schema:
    return {
        "type": "object",
        "required": ["name", "observedGeneration", "state", "reason"],
        "properties": {
            "name": _text("The StaticRoute."),
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "The generation of its spec that this is about.",
            },
            "state": {
                **_text("What became of it; where its destinations differ, the worst."),
                "enum": [each.value for each in RowState],
            },
            "reason": _text("Why, in one word."),
            "message": {
                **_text("What is wrong, with the kernel's own words where it refused; empty when all is well."),
                "maxLength": MAX_MESSAGE_LENGTH,
            },
            "gateway": _text("The gateway that it is routed through."),
            "destinations": _count(
                "Destinations that its spec names, equal ones counted once, in the parts that excludes leave."
            ),
            "programmed": _count("How many of these are in the node's kernel."),
            "gatewaysUp": _texts("Its gateways that answer this node; absent without a health check."),
            "gatewaysDown": _texts("Its gateways that do not."),
        },
    }


def _texts(description: str) -> Schema:
    return {
        "type": "array",
        "description": description,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string"},
    }


def _gateway() -> Schema:
    return {
        "type": "object",
        "required": ["address", "state"],
        "properties": {
            "address": _text("The gateway."),
            "interface": _text("The interface by which it is probed."),
            "check": _text("How."),
            "state": {
                **_text("Up, Down, or Unknown before the first verdict."),
                "enum": [each.value for each in GatewayState],
            },
            "since": {"type": "string", "format": "date-time", "description": "When it came to be so."},
        },
    }


def _status() -> Schema:
    return {
        "type": "object",
        "description": "Written by the node's agent when it changes.",
        "properties": {
            "summary": _text("Ready StaticRoutes of those that select the node, as 199/200."),
            "staticRoutes": _count("StaticRoutes that select the node."),
            "ready": _count("Those of which the node has all routes, or that stand by for another."),
            "failed": _count("Those of which it can't have them all."),
            "routes": _count("Their routes in the node's kernel."),
            "rows": {
                "type": "array",
                "description": "The StaticRoutes that select the node, by name.",
                "x-kubernetes-list-type": "atomic",
                "items": _row(),
            },
            "gateways": {
                "type": "array",
                "description": "The gateways that the node probes, however many StaticRoutes use each.",
                "x-kubernetes-list-type": "atomic",
                "items": _gateway(),
            },
        },
    }


def _columns() -> list[Schema]:
    """What `kubectl get` shows."""
    return [
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.summary",
            "description": "Ready StaticRoutes of those that select the node",
        },
        {
            "name": "Routes",
            "type": "integer",
            "jsonPath": ".status.routes",
            "description": "Routes in the node's kernel",
        },
        {
            "name": "Failed",
            "type": "integer",
            "jsonPath": ".status.failed",
            "description": "StaticRoutes of which the node can't have all routes",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def custom_resource_definition() -> Schema:
    """The CRD as a JSON object, ready to be written as YAML."""
    schema = {
        "type": "object",
        "description": "What one node says of the StaticRoutes that select it; named after it.",
        "properties": {"status": _status()},
    }
    return define(KIND, PLURAL, "nrs", {"additionalPrinterColumns": _columns(), "schema": {"openAPIV3Schema": schema}})
