"""Schema of the status of a StaticRoute."""

from static_route_operator.api.conditions import ConditionStatus
from static_route_operator.api.crd.definition import Schema
from static_route_operator.api.crd.schema import count_schema
from static_route_operator.api.rollout import Phase

# Failing nodes listed in a status, limited so that the object does not grow with the cluster.
MAX_FAILING_NODES = 10


def _stage() -> Schema:
    return {
        "type": "object",
        "description": "Stage of the roll-out: the nodes that may use the generation. Absent when all nodes may.",
        "properties": {
            "generation": {"type": "integer", "format": "int64", "description": "Generation that is rolled out."},
            "phase": {
                "type": "string",
                "description": "Progressing; Paused, because a node fails; or Complete, when every node may use the"
                " generation.",
                "enum": [each.value for each in Phase],
            },
            "nodes": {
                "type": "string",
                "description": "Nodes that may use the generation and selected nodes, as 1/3.",
            },
            "upTo": {
                "type": "integer",
                "format": "int64",
                "description": "Highest rank of the nodes that may use the generation. The rank of a node is the first"
                " 32 bits of the SHA-256 of its name.",
            },
            "since": {"type": "string", "format": "date-time", "description": "Time of the last change of the stage."},
        },
    }


def _condition() -> Schema:
    return {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": [each.value for each in ConditionStatus]},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    }


def status_schema() -> Schema:
    """Return the schema of ``status``."""
    return {
        "type": "object",
        "description": "State of the StaticRoute on all nodes, written by the controller.",
        # Objects of the retired operator have a status of another form, which is kept.
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "Generation of the spec that this status describes.",
            },
            "summary": {"type": "string", "description": "Ready nodes and selected nodes, as 3/3."},
            "gateway": {
                "type": "string",
                "description": "Addresses in spec.gateways, for `kubectl get`; absent if the spec has gateway instead.",
            },
            "routes": count_schema("Number of distinct destinations after excludes."),
            "nodes": {
                "type": "object",
                "description": "Number of nodes by state.",
                "properties": {
                    "selected": count_schema("Nodes that the StaticRoute selects: the sum of the other numbers."),
                    "ready": count_schema(
                        "Nodes that have installed all routes, or are standby for another StaticRoute."
                    ),
                    "failed": count_schema("Nodes that cannot install all routes."),
                    "pending": count_schema("Nodes that have not reported on this generation yet."),
                    "unknown": count_schema("Nodes that are NotReady in Kubernetes, whose state is unknown."),
                },
            },
            "failingNodes": {
                "type": "array",
                "description": f"Nodes that cannot install all routes, worst first, at most {MAX_FAILING_NODES}.",
                "maxItems": MAX_FAILING_NODES,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "node": {"type": "string"},
                        "reason": {"type": "string"},
                        "message": {"type": "string"},
                    },
                },
            },
            "gateways": {
                "type": "array",
                "description": "Gateways that nodes probe; absent without a health check.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string"},
                        "healthyNodes": count_schema("Nodes on which the gateway is up."),
                        "unhealthyNodes": count_schema("Nodes on which the gateway is down."),
                    },
                },
            },
            "rollout": _stage(),
            "conditions": {
                "type": "array",
                "description": "Accepted: the spec is valid. Ready: every selected node has installed all routes."
                " GatewaysHealthy: every gateway that is checked is up.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
        },
    }
