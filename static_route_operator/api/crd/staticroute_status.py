"""Schema of a StaticRoute's status."""

from static_route_operator.api.conditions import ConditionStatus
from static_route_operator.api.crd.definition import Schema
from static_route_operator.api.crd.schema import count_schema
from static_route_operator.api.rollout import Phase

# So many failing nodes stand in a status: one object must not grow with the cluster.
MOST_FAILING = 10


def _stage() -> Schema:
    return {
        "type": "object",
        "description": "Which nodes may use the generation; absent where all may.",
        "properties": {
            "generation": {"type": "integer", "format": "int64", "description": "The generation that this is about."},
            "phase": {
                "type": "string",
                "description": "Progressing, Paused since a node fails, or Complete: every node may use it.",
                "enum": [each.value for each in Phase],
            },
            "nodes": {"type": "string", "description": "Nodes that may use it of selected nodes, as 1/3."},
            "upTo": {
                "type": "integer",
                "format": "int64",
                "description": "The last place in the order of nodes that may use it: the first 32 bits of the SHA-256"
                " of a node's name are its place.",
            },
            "since": {"type": "string", "format": "date-time", "description": "When it came to be these nodes."},
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
        "description": "How it fares on the nodes; written by the controller.",
        # Objects of the retired operator carry a status of its own making: kept as it is.
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "The generation of the spec that this is about.",
            },
            "summary": {"type": "string", "description": "Ready nodes of selected nodes, as 3/3."},
            "gateway": {
                "type": "string",
                "description": "The addresses of spec.gateways, for `kubectl get`; absent where spec has one gateway.",
            },
            "routes": count_schema(
                "Destinations that the spec names, equal ones counted once, in the parts that excludes leave."
            ),
            "nodes": {
                "type": "object",
                "description": "Numbers of nodes.",
                "properties": {
                    "selected": count_schema("Nodes that it is for; the others add up to this."),
                    "ready": count_schema("Nodes that have all of its routes, or stand by for another StaticRoute."),
                    "failed": count_schema("Nodes that say they can't."),
                    "pending": count_schema("Nodes that have not answered for this generation yet."),
                    "unknown": count_schema("Nodes that are NotReady in Kubernetes, so that nobody can tell."),
                },
            },
            "failingNodes": {
                "type": "array",
                "description": "The first of the nodes that can't, worst first, each with its own words.",
                "maxItems": MOST_FAILING,
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
                "description": "The gateways that nodes probe for it; absent without a health check.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string"},
                        "healthyNodes": count_schema("Nodes that it answers."),
                        "unhealthyNodes": count_schema("Nodes that it does not answer."),
                    },
                },
            },
            "rollout": _stage(),
            "conditions": {
                "type": "array",
                "description": "Accepted: the spec can be used. Ready: every selected node has all of its routes."
                " GatewaysHealthy: every gateway that is checked answers.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
        },
    }
