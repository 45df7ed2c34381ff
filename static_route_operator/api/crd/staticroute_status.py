"""Schema of the status of a StaticRoute."""

from static_route_operator.api.conditions import ConditionStatus
from static_route_operator.api.crd.definition import Schema
from static_route_operator.api.crd.schema import count_schema
from static_route_operator.api.gateways import MAX_GATEWAYS
from static_route_operator.api.rollout import Phase

# Failing nodes listed in a status, limited so that the object does not grow with the cluster.
MAX_FAILING_NODES = 10
# Characters of a condition's message.
MAX_MESSAGE_LENGTH = 4096
# Conditions of all versions of this program; characters of a name, of an address, and of two numbers.
_MAX_CONDITIONS = 16
_NAME, _ADDRESS, _COUNTS = 253, 45, 32


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
                "maxLength": _COUNTS,
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
            "message": {"type": "string", "maxLength": MAX_MESSAGE_LENGTH},
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
            "summary": {
                "type": "string",
                "maxLength": _COUNTS,
                "description": "Ready nodes and selected nodes, as 3/3.",
            },
            "gateway": {
                "type": "string",
                "maxLength": MAX_GATEWAYS * (_ADDRESS + 2),
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
                        "node": {"type": "string", "maxLength": _NAME},
                        "reason": {"type": "string", "maxLength": _NAME},
                        "message": {"type": "string", "maxLength": MAX_MESSAGE_LENGTH},
                    },
                },
            },
            "gateways": {
                "type": "array",
                "description": "Gateways that nodes probe; absent without a health check.",
                "maxItems": MAX_GATEWAYS,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string", "maxLength": _ADDRESS},
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
                "maxItems": _MAX_CONDITIONS,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
        },
    }
