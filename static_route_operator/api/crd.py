"""The CustomResourceDefinition of StaticRoute, generated: what `kubectl apply` accepts, refuses and shows.

The CEL rules refuse what can never work on any node, each with a message a person can act on. What depends on the node
(is the gateway on one of its subnets?) is decided there. The API server's cost estimator bounds how the rules may be
written: a rule on each destination must be cheap in its length, and no message may format a parsed CIDR.
"""

from static_route_operator.api.conditions import ConditionStatus, ConditionType
from static_route_operator.api.definition import Schema, define
from static_route_operator.api.destinations import LONGEST_DEFAULT
from static_route_operator.api.nodeselector import OPERATORS
from static_route_operator.api.options import (
    MAX_METRIC,
    MAX_MTU,
    MAX_TABLE,
    MIN_MTU,
    MIN_MTU_IPV6,
    MIN_TABLE,
    TABLE_LOCAL,
)
from static_route_operator.api.staticroute import DEFAULT_PRIORITY, KIND, PLURAL

MAX_DESTINATIONS = 20_000
MAX_EXCLUDES = 1_000
MAX_PRIORITY = 1_000
# So many failing nodes stand in a status: one object must not grow with the cluster.
MOST_FAILING = 10

# The longest texts of an address and of a CIDR that are worth reading: IPv6 in full with an embedded IPv4, and "/128".
MAX_ADDRESS_LENGTH = 45
MAX_DESTINATION_LENGTH = 49

_ROUTABLE = "({address}).isGlobalUnicast() && !self.startsWith('0.')"


def _rule(rule: str, message: str = "", *, expression: str = "") -> Schema:
    """A CEL rule with the text shown when it fails: fixed, or a CEL expression over ``self``."""
    return {"rule": rule, "messageExpression": expression} if expression else {"rule": rule, "message": message}


def _prefix_rules() -> list[Schema]:
    """What holds for each host and CIDR, whatever it is for."""
    return [
        _rule("isIP(self) || isCIDR(self)", expression='"\'" + self + "\' is not an IP address or CIDR"'),
        _rule(
            "!isCIDR(self) || cidr(self) == cidr(self).masked()",
            expression='"\'" + self + "\' has host bits set; write the network\'s own address"',
        ),
    ]


def _destination() -> Schema:
    never = "is loopback, link-local, multicast, broadcast or unspecified, never routed through a gateway"
    return {
        "type": "string",
        "maxLength": MAX_DESTINATION_LENGTH,
        "x-kubernetes-validations": [
            *_prefix_rules(),
            _rule(
                f"!isCIDR(self) || cidr(self).prefixLength() > {LONGEST_DEFAULT}",
                expression='"\'" + self + "\' is the default route or half of it,'
                " which would take the node's own traffic along\"",
            ),
            _rule(f"!isIP(self) || {_ROUTABLE.format(address='ip(self)')}", expression=f'"\'" + self + "\' {never}"'),
            _rule(
                f"!isCIDR(self) || cidr(self).prefixLength() <= {LONGEST_DEFAULT} || "
                + _ROUTABLE.format(address="cidr(self).ip()"),
                expression=f'"\'" + self + "\' {never}"',
            ),
        ],
    }


def _address(what: str, must_be: str, description: str) -> Schema:
    """The schema of a unicast address.

    Args:
        what: its name in messages.
        must_be: what it is, in the message about one that is not.
        description: for the reference.
    """
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_ADDRESS_LENGTH,
        "x-kubernetes-validations": [
            _rule("isIP(self)", expression=f'"{what} \'" + self + "\' is not an IP address"'),
            _rule(
                f"!isIP(self) || {_ROUTABLE.format(address='ip(self)')}",
                expression=f'"{what} \'" + self + "\' is not {must_be}"',
            ),
        ],
    }


def _options() -> dict[str, Schema]:
    """What may be said about the routes beside where they lead, as in `ip route`."""
    return {
        "excludes": {
            "type": "array",
            "description": "Hosts and CIDRs that are cut out of the destinations, which become as many smaller"
            " prefixes as that takes. Destinations that no exclude touches stay as they are.",
            "maxItems": MAX_EXCLUDES,
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "string",
                "maxLength": MAX_DESTINATION_LENGTH,
                "x-kubernetes-validations": _prefix_rules(),
            },
        },
        "metric": {
            "type": "integer",
            "format": "int64",
            "description": "Of routes to the same prefix in the same table, whoever made them, the kernel takes the one"
            " of the lowest metric. Absent, or 0 for IPv6: the kernel's own default, 0 for IPv4 and 1024 for IPv6.",
            "minimum": 0,
            "maximum": MAX_METRIC,
        },
        "table": {
            "type": "integer",
            "format": "int64",
            "description": "Number of the routing table. Absent: 254, main. A table is used as far as a policy rule"
            f" (`ip rule`) leads to it; this operator makes none. Never {TABLE_LOCAL}, which is the kernel's own.",
            "minimum": MIN_TABLE,
            "maximum": MAX_TABLE,
            "x-kubernetes-validations": [
                _rule(f"self != {TABLE_LOCAL}", f"table {TABLE_LOCAL} (local) is the kernel's own")
            ],
        },
        "mtu": {
            "type": "integer",
            "format": "int32",
            "description": "Largest packet that is sent through these routes, in bytes; for IPv6 at least"
            f" {MIN_MTU_IPV6}. Absent: as large as the interface takes.",
            "minimum": MIN_MTU,
            "maximum": MAX_MTU,
        },
        "source": _address(
            "source",
            "a unicast address of the node",
            "Address that packets of the node itself get, if the program that sends them chose none. It must be an"
            " address of the node. Absent: as the kernel chooses.",
        ),
        "onLink": {
            "type": "boolean",
            "description": "Take the gateway for a neighbour even if it is on no subnet of the node: it is looked for"
            " on the interface by which the node would send to it anyway. Absent: false.",
        },
    }


def _requirements(description: str, *, fields: bool) -> Schema:
    key: Schema = {"type": "string", "minLength": 1, "maxLength": 317}
    operator: Schema = {"type": "string", "enum": list(OPERATORS)}
    if fields:
        key["enum"] = ["metadata.name"]
        operator["enum"] = ["In", "NotIn"]
    return {
        "type": "array",
        "description": description,
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["key", "operator"],
            "properties": {
                "key": key,
                "operator": operator,
                "values": {
                    "type": "array",
                    "maxItems": 1 if fields else 256,
                    "x-kubernetes-list-type": "atomic",
                    "items": {"type": "string", "maxLength": 253 if fields else 63},
                },
            },
            "x-kubernetes-validations": [
                _rule(
                    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
                    "operators In and NotIn need at least one value",
                ),
                _rule(
                    "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
                    "operators Exists and DoesNotExist take no values",
                ),
                _rule(
                    "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && size(self.values) == 1"
                    " && self.values[0].matches('^-?[0-9]+$'))",
                    "operators Gt and Lt take one whole number, as text",
                ),
            ],
        },
    }


def _node_selector() -> Schema:
    return {
        "type": "object",
        "description": "The nodes this is for, as in the node affinity of a Pod: one of the terms must match. Absent:"
        " every node.",
        "required": ["nodeSelectorTerms"],
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "nodeSelectorTerms": {
                "type": "array",
                "minItems": 1,
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "matchExpressions": _requirements("Conditions on the node's labels.", fields=False),
                        "matchFields": _requirements("Conditions on the node's name.", fields=True),
                    },
                },
            },
        },
    }


def _spec() -> Schema:
    return {
        "type": "object",
        "required": ["destinations", "gateway"],
        "properties": {
            "destinations": {
                "type": "array",
                "description": "IPv4 or IPv6 hosts and CIDRs to route through the gateway.",
                "minItems": 1,
                "maxItems": MAX_DESTINATIONS,
                "x-kubernetes-list-type": "atomic",
                "items": _destination(),
            },
            "gateway": _address(
                "gateway",
                "a unicast address on a subnet of the node",
                "IP address of the gateway, on a subnet of the node (but see onLink). May be changed in place: the"
                " routes move without a gap.",
            ),
            "nodeSelector": _node_selector(),
            "priority": {
                "type": "integer",
                "format": "int32",
                "description": "Between StaticRoutes that want the same prefix the lower priority wins, then the older"
                " object, then the name. The others stand by and take over without a gap.",
                "minimum": 0,
                "maximum": MAX_PRIORITY,
                "default": DEFAULT_PRIORITY,
            },
            **_options(),
        },
        "x-kubernetes-validations": [
            _rule(
                "self.destinations.all(d, d.contains(':') == self.gateway.contains(':'))",
                "destinations and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            _rule(
                "!has(self.excludes) || self.excludes.all(e, e.contains(':') == self.gateway.contains(':'))",
                "excludes and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            _rule(
                "!has(self.source) || self.source.contains(':') == self.gateway.contains(':')",
                "source and gateway must be of one address family",
            ),
            _rule(
                f"!has(self.mtu) || self.mtu >= {MIN_MTU_IPV6} || !self.gateway.contains(':')",
                f"mtu must be at least {MIN_MTU_IPV6} for IPv6",
            ),
        ],
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


def _count(description: str) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}


def _status() -> Schema:
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
            "routes": _count(
                "Destinations that the spec names, equal ones counted once, in the parts that excludes leave."
            ),
            "nodes": {
                "type": "object",
                "description": "Numbers of nodes.",
                "properties": {
                    "selected": _count("Nodes that it is for; the others add up to this."),
                    "ready": _count("Nodes that have all of its routes, or stand by for another StaticRoute."),
                    "failed": _count("Nodes that say they can't."),
                    "pending": _count("Nodes that have not answered for this generation yet."),
                    "unknown": _count("Nodes that are NotReady in Kubernetes, so that nobody can tell."),
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
            "conditions": {
                "type": "array",
                "description": "Accepted: the spec can be used. Ready: every selected node has all of its routes.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
        },
    }


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
            "jsonPath": ".spec.gateway",
            "description": "Gateway to route through",
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
        "properties": {"spec": _spec(), "status": _status()},
    }
    version = {
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": schema},
    }
    return define(KIND, PLURAL, "sr", version)
