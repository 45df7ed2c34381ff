"""The CustomResourceDefinition of StaticRoute, generated: what `kubectl apply` accepts, refuses and shows.

The CEL rules refuse what can never work on any node, each with a message a person can act on. What depends on the node
(is the gateway on one of its subnets?) is decided there. The API server's cost estimator bounds how the rules may be
written: a rule on each destination must be cheap in its length, and no message may format a parsed CIDR.
"""

from static_route_operator.api.conditions import ConditionStatus, ConditionType
from static_route_operator.api.definition import Schema, define
from static_route_operator.api.destinations import LONGEST_DEFAULT
from static_route_operator.api.gateways import (
    DEFAULT_FAILURE_THRESHOLD,
    DEFAULT_GATEWAY_PRIORITY,
    DEFAULT_INTERVAL,
    DEFAULT_PATH,
    DEFAULT_SUCCESS_THRESHOLD,
    DEFAULT_WEIGHT,
    DURATION,
    HTTP_PATH,
    INTERFACE,
    INTERVALS,
    MAX_DURATION_LENGTH,
    MAX_GATEWAY_PRIORITY,
    MAX_GATEWAYS,
    MAX_PATH_LENGTH,
    MAX_THRESHOLD,
    MAX_WEIGHT,
    TIMEOUTS,
    WhenAllDown,
)
from static_route_operator.api.nodeselector import OPERATORS
from static_route_operator.api.options import (
    MAX_METRIC,
    MAX_MTU,
    MAX_TABLE,
    MIN_MTU,
    MIN_MTU_IPV6,
    MIN_TABLE,
)
from static_route_operator.api.rollout import PERCENTAGE, Phase
from static_route_operator.api.staticroute import DEFAULT_PRIORITY, KIND, PLURAL
from static_route_operator.checks import CheckType
from static_route_operator.keys import TABLE_LOCAL

MAX_DESTINATIONS = 20_000
MAX_EXCLUDES = 1_000
MAX_PRIORITY = 1_000
# So many failing nodes stand in a status: one object must not grow with the cluster.
MOST_FAILING = 10

# The longest texts of an address and of a CIDR that are worth reading: IPv6 in full with an embedded IPv4, and "/128".
MAX_ADDRESS_LENGTH = 45
MAX_DESTINATION_LENGTH = 49

# The address whose family all others must have.
_GATEWAY = "(has(self.gateway) ? self.gateway : has(self.gateways) ? self.gateways[0].address : '')"

_ROUTABLE = "({address}).isGlobalUnicast() && !self.startsWith('0.')"


_ALLOWED = "(has(self.allowDefaultRoute) && self.allowDefaultRoute)"


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
            " (`ip rule`) leads to it; this operator makes none for it."
            f" Never {TABLE_LOCAL}, which is the kernel's own.",
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


def _node_selector(description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
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
        "required": ["destinations"],
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
                " routes move without a gap. One of gateway and gateways must be there.",
            ),
            "gateways": _gateways(),
            "dryRun": {
                "type": "boolean",
                "description": "Whether nodes do nothing, and only tell what they would do, in NodeRouteState and"
                " status. Routes that the object has already stay as they are.",
            },
            "rollout": _rollout(),
            "healthCheck": _health_check(),
            "whenAllGatewaysDown": {
                "type": "string",
                "description": "What a node does with the routes when it can use none of the gateways: Keep leaves"
                " those that are there as they are, Withdraw takes them away, so that a shorter prefix gets the"
                " packets, and Blackhole drops the packets. Absent: Keep.",
                "enum": [each.value for each in WhenAllDown],
            },
            "nodeSelector": _node_selector(
                "The nodes this is for, as in the node affinity of a Pod: one of the terms must match. Absent: every"
                " node."
            ),
            "priority": {
                "type": "integer",
                "format": "int32",
                "description": "Between StaticRoutes that want the same prefix the lower priority wins, then the older"
                " object, then the name. The others stand by and take over without a gap.",
                "minimum": 0,
                "maximum": MAX_PRIORITY,
                "default": DEFAULT_PRIORITY,
            },
            "allowDefaultRoute": {
                "type": "boolean",
                "description": "Whether destinations may be the default route (0.0.0.0/0, ::/0) or its halves. What is"
                " protected keeps the way it has. Absent: false.",
            },
            **_options(),
        },
        "x-kubernetes-validations": [
            _rule("has(self.gateway) != has(self.gateways)", "name the gateway: exactly one of gateway and gateways"),
            _rule(
                _of_one_family("self.destinations"),
                "destinations and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            _rule(
                f"{_ALLOWED} || self.destinations.all(each, !each.endsWith('/0') && !each.endsWith('/1'))",
                "the default route, or half of it, needs allowDefaultRoute: true",
            ),
            _rule(
                f"!{_ALLOWED} || has(self.table) || !has(self.onLink) || !self.onLink"
                " || (has(self.gateways) && self.gateways.all(each, has(each.interface)))",
                "the gateways of a default route that are onLink need an interface: name it in gateways",
            ),
            _rule(
                f"!has(self.excludes) || {_of_one_family('self.excludes')}",
                "excludes and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            _rule(
                f"!has(self.source) || {_of_one_family('[self.source]')}",
                "source and gateway must be of one address family",
            ),
            _rule(
                f"!has(self.mtu) || self.mtu >= {MIN_MTU_IPV6} || !{_GATEWAY}.contains(':')",
                f"mtu must be at least {MIN_MTU_IPV6} for IPv6",
            ),
        ],
    }


def _of_one_family(texts: str) -> str:
    """A CEL expression: all of these are of the address family of the gateway."""
    return f"[{_GATEWAY}].all(g, {texts}.all(each, each.contains(':') == g.contains(':')))"


def _gateways() -> Schema:
    return {
        "type": "array",
        "description": "Gateways to choose from, in the place of gateway. Each node uses those that are for it, that it"
        " reaches and that are up: of the lowest priority that has any, all together, by their weights.",
        "minItems": 1,
        "maxItems": MAX_GATEWAYS,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["address"],
            "properties": {
                "address": _address(
                    "gateway", "a unicast address on a subnet of the node", "IP address of the gateway."
                ),
                "weight": {
                    "type": "integer",
                    "format": "int32",
                    "description": "Its share of the connections, beside the weights of the others in use; 0 drains it:"
                    " nothing is sent to it.",
                    "minimum": 0,
                    "maximum": MAX_WEIGHT,
                    "default": DEFAULT_WEIGHT,
                },
                "priority": {
                    "type": "integer",
                    "format": "int32",
                    "description": "It stands by as long as any gateway of a lower one can be used.",
                    "minimum": 0,
                    "maximum": MAX_GATEWAY_PRIORITY,
                    "default": DEFAULT_GATEWAY_PRIORITY,
                },
                "interface": {
                    "type": "string",
                    "description": "Name of the interface that it is on, even if none of its subnets holds it. Absent:"
                    " the one on whose subnet it is.",
                    "maxLength": 15,
                    "pattern": INTERFACE,
                },
                "nodeSelector": _node_selector(
                    "The nodes that may use it, of those that the StaticRoute is for. Absent: all of them."
                ),
            },
        },
        "x-kubernetes-validations": [
            _rule(
                "self.all(a, a.address.contains(':') == self[0].address.contains(':'))",
                "gateways must be of one address family: all IPv4 or all IPv6",
            ),
            _rule(
                "self.all(a, !isIP(a.address) ||"
                " self.exists_one(b, isIP(b.address) && ip(a.address) == ip(b.address)))",
                "gateways must be there once each",
            ),
        ],
    }


def _duration(description: str, bounds: tuple[str, str]) -> Schema:
    least, most = bounds
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_DURATION_LENGTH,
        "pattern": DURATION,
        "x-kubernetes-validations": [
            _rule(
                f"!self.matches(r'{DURATION}') || (duration(self) >= duration('{least}')"
                f" && duration(self) <= duration('{most}'))",
                f"must be from {least} to {most}",
            )
        ],
    }


def _threshold(description: str, default: int) -> Schema:
    return {
        "type": "integer",
        "format": "int32",
        "description": description,
        "minimum": 1,
        "maximum": MAX_THRESHOLD,
        "default": default,
    }


def _health_check() -> Schema:
    return {
        "type": "object",
        "description": "How each node finds out whether the gateways that it may use are up. Absent: they count as up."
        " Until the first verdict a gateway counts as up too.",
        "properties": {
            "type": {
                "type": "string",
                "description": "ICMP sends an echo request, TCP opens a connection to the port, HTTP sends a GET there"
                " that must be answered with a status of 200 to 399.",
                "enum": [each.value for each in CheckType],
                "default": CheckType.ICMP.value,
            },
            "port": {
                "type": "integer",
                "format": "int32",
                "description": "Port for TCP and HTTP.",
                "minimum": 1,
                "maximum": 65_535,
            },
            "path": {
                "type": "string",
                "description": f"Path for HTTP. Absent: {DEFAULT_PATH}.",
                "maxLength": MAX_PATH_LENGTH,
                "pattern": HTTP_PATH,
            },
            "interval": {
                **_duration("From one probe to the next, such as 100ms or 2s.", INTERVALS),
                "default": DEFAULT_INTERVAL,
            },
            "timeout": _duration(
                "Within which a probe must be answered. Absent: learnt from the round-trip times.", TIMEOUTS
            ),
            "failureThreshold": _threshold(
                "So many probes in a row must be lost for a gateway to be down.", DEFAULT_FAILURE_THRESHOLD
            ),
            "successThreshold": _threshold(
                "So many probes in a row must be answered for a gateway that was down to be up.",
                DEFAULT_SUCCESS_THRESHOLD,
            ),
        },
        "x-kubernetes-validations": [
            _rule("self.type == 'ICMP' ? !has(self.port) : has(self.port)", "port is for TCP and HTTP, which need one"),
            _rule("self.type == 'HTTP' || !has(self.path)", "path is for HTTP only"),
        ],
    }


def _rollout() -> Schema:
    return {
        "type": "object",
        "description": "How a new generation reaches the nodes: some first, in an order that stays the same, and more"
        " when these are ready. Until its turn comes a node keeps the generation that it has. Absent: all at once,"
        " unless a setting of the operator says otherwise. The end of the object is not staged.",
        "properties": {
            "maxUnavailable": {
                "description": "So many nodes get it at a time, as a number or as a percentage of the selected nodes,"
                " rounded up.",
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "default": 1,
                "x-kubernetes-validations": [
                    _rule(
                        f"type(self) == string ? self.matches(r'{PERCENTAGE}') : self >= 1",
                        "must be a number of nodes, such as 1, or a percentage, such as 25%",
                    )
                ],
            },
            "pauseOnFailure": {
                "type": "boolean",
                "description": "Whether no further node gets it while one that has it fails.",
                "default": True,
            },
        },
    }


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
            "gateway": {
                "type": "string",
                "description": "The addresses of spec.gateways, for `kubectl get`; absent where spec has one gateway.",
            },
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
            "gateways": {
                "type": "array",
                "description": "The gateways that nodes probe for it; absent without a health check.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string"},
                        "healthyNodes": _count("Nodes that it answers."),
                        "unhealthyNodes": _count("Nodes that it does not answer."),
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
        "properties": {"spec": _spec(), "status": _status()},
    }
    version = {
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": schema},
    }
    return define(KIND, PLURAL, "sr", version)
