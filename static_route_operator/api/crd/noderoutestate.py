"""The CustomResourceDefinition of NodeRouteState.

It has no status subresource: only the agent of its node writes the object, and creates and fills it with one request.
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
            "name": _text("Name of the StaticRoute."),
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "Generation of the spec that this row describes.",
            },
            "state": {
                **_text("State of the StaticRoute on this node: that of its worst destination."),
                "enum": [each.value for each in RowState],
            },
            "reason": _text("Reason of the state, in one word."),
            "message": {
                **_text("The problem, with the kernel's error if there is one; empty when there is no problem."),
                "maxLength": MAX_MESSAGE_LENGTH,
            },
            "gateway": _text("Gateways that the routes use."),
            "destinations": _count("Number of distinct destinations after excludes."),
            "programmed": _count("Number of routes to these destinations that are installed."),
            "gatewaysUp": _texts("Gateways that are up on this node; absent without a health check."),
            "gatewaysDown": _texts("Gateways that are down on this node."),
        },
    }


def _time(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": description}


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
            "address": _text("IP address of the gateway."),
            "interface": _text("Interface that the probes leave by."),
            "check": _text("Type, port and interval of the health check."),
            "state": {
                **_text("Up, Down, or Unknown until enough probes have ended."),
                "enum": [each.value for each in GatewayState],
            },
            "since": _time("Time of the last change of state."),
            "heldUntil": _time(
                "Time until which a gateway that failed again and again stays down even if it answers; absent without a"
                " hold-down."
            ),
        },
    }


def _status() -> Schema:
    return {
        "type": "object",
        "description": "Report of the agent on the node, written when it changes.",
        "properties": {
            "summary": _text("Ready StaticRoutes and StaticRoutes that select the node, as 199/200."),
            "staticRoutes": _count("Number of StaticRoutes that select the node."),
            "ready": _count("Number of StaticRoutes whose routes are all installed, or that are standby for another."),
            "failed": _count("Number of StaticRoutes whose routes cannot all be installed."),
            "routes": _count("Number of routes that are installed in the kernel of the node."),
            "rows": {
                "type": "array",
                "description": "One row for each StaticRoute that selects the node, by name.",
                "x-kubernetes-list-type": "atomic",
                "items": _row(),
            },
            "gateways": {
                "type": "array",
                "description": "Gateways that the node probes, each listed once even if several StaticRoutes use it.",
                "x-kubernetes-list-type": "atomic",
                "items": _gateway(),
            },
        },
    }


def _columns() -> list[Schema]:
    """Return the columns of `kubectl get`."""
    return [
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.summary",
            "description": "Ready StaticRoutes and StaticRoutes that select the node",
        },
        {
            "name": "Routes",
            "type": "integer",
            "jsonPath": ".status.routes",
            "description": "Routes that are installed in the kernel of the node",
        },
        {
            "name": "Failed",
            "type": "integer",
            "jsonPath": ".status.failed",
            "description": "StaticRoutes whose routes cannot all be installed",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def custom_resource_definition() -> Schema:
    """Return the CRD."""
    schema = {
        "type": "object",
        "description": "Report of one node on the StaticRoutes that select it. The object has the name of the node.",
        "properties": {"status": _status()},
    }
    return define(KIND, PLURAL, "nrs", {"additionalPrinterColumns": _columns(), "schema": {"openAPIV3Schema": schema}})
