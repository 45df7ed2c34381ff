"""Schema of the spec of a StaticRoute."""

from static_route_operator.api.crd.definition import Schema
from static_route_operator.api.crd.schema import (
    GATEWAY,
    MAX_DESTINATION_LENGTH,
    MAX_DESTINATIONS,
    MAX_EXCLUDES,
    MAX_PRIORITY,
    ROUTABLE,
    address_schema,
    duration_schema,
    node_selector_schema,
    of_one_family,
    prefix_rules,
    rule,
    threshold_schema,
)
from static_route_operator.api.destinations import LONGEST_DEFAULT
from static_route_operator.api.gateways import (
    DEFAULT_GATEWAY_PRIORITY,
    DEFAULT_WEIGHT,
    INTERFACE,
    MAX_GATEWAY_PRIORITY,
    MAX_GATEWAYS,
    MAX_INTERFACE_LENGTH,
    MAX_WEIGHT,
    WhenAllDown,
)
from static_route_operator.api.healthcheck import (
    DEFAULT_FAILURE_THRESHOLD,
    DEFAULT_INTERVAL,
    DEFAULT_PATH,
    DEFAULT_SUCCESS_THRESHOLD,
    HTTP_PATH,
    INTERVALS,
    MAX_PATH_LENGTH,
    TIMEOUTS,
    CheckType,
)
from static_route_operator.api.options import MAX_METRIC, MAX_TABLE, MIN_TABLE
from static_route_operator.api.rollout import PERCENTAGE
from static_route_operator.api.staticroute import DEFAULT_PRIORITY
from static_route_operator.routing.keys import TABLE_LOCAL
from static_route_operator.routing.options import METRIC_OPTIONS, MetricOption

_ALLOWED = "(has(self.allowDefaultRoute) && self.allowDefaultRoute)"


def _destination() -> Schema:
    never = "is loopback, link-local, multicast, broadcast or unspecified, and is never routed through a gateway"
    return {
        "type": "string",
        "maxLength": MAX_DESTINATION_LENGTH,
        "x-kubernetes-validations": [
            *prefix_rules(),
            rule(f"!isIP(self) || {ROUTABLE.format(address='ip(self)')}", expression=f'"\'" + self + "\' {never}"'),
            rule(
                f"!isCIDR(self) || cidr(self).prefixLength() <= {LONGEST_DEFAULT} || "
                + ROUTABLE.format(address="cidr(self).ip()"),
                expression=f'"\'" + self + "\' {never}"',
            ),
        ],
    }


def _options() -> dict[str, Schema]:
    """Return the schemas of the route options, named as in `ip route`."""
    return {
        "excludes": {
            "type": "array",
            "description": "Hosts and CIDRs to cut out of the destinations. A destination that contains an exclude is"
            " split into the fewest smaller prefixes; the others stay as they are.",
            "maxItems": MAX_EXCLUDES,
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "string",
                "maxLength": MAX_DESTINATION_LENGTH,
                "x-kubernetes-validations": prefix_rules(),
            },
        },
        "metric": {
            "type": "integer",
            "format": "int64",
            "description": "Metric of the routes. Among routes to the same prefix in the same table, also those of"
            " other programs, the kernel takes the one with the lowest metric. Default: that of the kernel, 0 for IPv4"
            " and 1024 for IPv6, which has no metric 0.",
            "minimum": 0,
            "maximum": MAX_METRIC,
        },
        "table": {
            "type": "integer",
            "format": "int64",
            "description": "Number of the routing table. The kernel uses a table only if a policy rule (`ip rule`)"
            f" leads to it; create the rule yourself. {TABLE_LOCAL} (local) is the kernel's own. Default: 254, main.",
            "minimum": MIN_TABLE,
            "maximum": MAX_TABLE,
            "x-kubernetes-validations": [
                rule(f"self != {TABLE_LOCAL}", f"table {TABLE_LOCAL} (local) is the kernel's own")
            ],
        },
        **{option.field: _metric(option) for option in METRIC_OPTIONS},
        "source": address_schema(
            "source",
            "a unicast address of the node",
            "Source address of packets that the node itself sends, if the sending program chooses none. It must be an"
            " address of the node. Default: the kernel chooses.",
        ),
        "onLink": {
            "type": "boolean",
            "description": "Treat the gateway as a neighbour even if it is on no subnet of the node. The node looks for"
            " it on the interface of its own route to the gateway. Default: false.",
        },
    }


def _metric(option: MetricOption) -> Schema:
    """Return the schema of a metric; a rule of the spec narrows the bounds for IPv6."""
    ipv6 = f" For IPv6 at least {option.minimum_ipv6}." if option.minimum_ipv6 > option.minimum else ""
    return {
        "type": "integer",
        "format": "int32",
        "description": option.description + ipv6,
        "minimum": option.minimum,
        "maximum": option.maximum,
    }


def spec_schema() -> Schema:
    """Return the schema of ``spec``."""
    return {
        "type": "object",
        "required": ["destinations"],
        "properties": {
            "destinations": {
                "type": "array",
                "description": "Hosts and CIDRs to route through the gateway, all IPv4 or all IPv6.",
                "minItems": 1,
                "maxItems": MAX_DESTINATIONS,
                "x-kubernetes-list-type": "atomic",
                "items": _destination(),
            },
            "gateway": address_schema(
                "gateway",
                "a unicast address on a subnet of the node",
                "IP address of the gateway. It must be a neighbour of the node: on the subnet of an address, or with a"
                " route of its own, unless onLink is true. When it changes, the routes move to the new gateway without"
                " a gap. Exactly one of gateway and gateways must be set.",
            ),
            "gateways": _gateways(),
            "dryRun": {
                "type": "boolean",
                "description": "If true, nodes change no routes, and report in NodeRouteState and status what they"
                " would change. Routes that are already installed stay as they are.",
            },
            "rollout": _rollout(),
            "healthCheck": _health_check(),
            "whenAllGatewaysDown": {
                "type": "string",
                "description": "Policy for a node that can use none of the gateways: Keep leaves the installed routes"
                " as they are; Withdraw removes them, so that the next shorter prefix routes the packets; Blackhole"
                " drops the packets. Routes through a gateway that is the node itself are removed in any case."
                " Default: Keep.",
                "enum": [each.value for each in WhenAllDown],
            },
            "nodeSelector": node_selector_schema(
                "Nodes that install the routes, selected as in the node affinity of a Pod: one of the terms must"
                " match. Default: every node."
            ),
            "priority": {
                "type": "integer",
                "format": "int32",
                "description": "Precedence among StaticRoutes with the same prefix: the lowest priority wins, then the"
                " oldest object, then the first name. The others are standby, and take over without a gap.",
                "minimum": 0,
                "maximum": MAX_PRIORITY,
                "default": DEFAULT_PRIORITY,
            },
            "allowDefaultRoute": {
                "type": "boolean",
                "description": "If true, destinations may be the default route (0.0.0.0/0 or ::/0) or one of its"
                " halves. Protected addresses keep their present routes. Default: false.",
            },
            **_options(),
        },
        "x-kubernetes-validations": [
            rule("has(self.gateway) != has(self.gateways)", "exactly one of gateway and gateways must be set"),
            rule(
                of_one_family("self.destinations"),
                "destinations and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            rule(
                f"{_ALLOWED} || self.destinations.all(each, !each.endsWith('/0') && !each.endsWith('/1'))",
                "the default route, or half of it, needs allowDefaultRoute: true",
            ),
            rule(
                f"!{_ALLOWED} || has(self.table) || !has(self.onLink) || !self.onLink"
                " || (has(self.gateways) && self.gateways.all(each, has(each.interface)))",
                "a default route that is onLink needs gateways with an interface each",
            ),
            rule(
                f"!has(self.excludes) || {of_one_family('self.excludes')}",
                "excludes and gateway must be of one address family: all IPv4 or all IPv6",
            ),
            rule(
                f"!has(self.source) || {of_one_family('[self.source]')}",
                "source and gateway must be of one address family",
            ),
            *(
                rule(
                    f"!has(self.{option.field}) || self.{option.field} >= {option.minimum_ipv6}"
                    f" || !{GATEWAY}.contains(':')",
                    f"{option.field} must be at least {option.minimum_ipv6} for IPv6",
                )
                for option in METRIC_OPTIONS
                if option.minimum_ipv6 > option.minimum
            ),
        ],
    }


def _gateways() -> Schema:
    return {
        "type": "array",
        "description": "Several gateways, in place of gateway. Each node uses the gateways of the lowest priority among"
        " those that are up, reachable and meant for the node, and shares the traffic among them by weight.",
        "minItems": 1,
        "maxItems": MAX_GATEWAYS,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["address"],
            "properties": {
                "address": address_schema(
                    "gateway", "a unicast address on a subnet of the node", "IP address of the gateway."
                ),
                "weight": {
                    "type": "integer",
                    "format": "int32",
                    "description": "Share of the connections, relative to the weights of the other gateways in use. 0"
                    " drains the gateway: it gets no traffic.",
                    "minimum": 0,
                    "maximum": MAX_WEIGHT,
                    "default": DEFAULT_WEIGHT,
                },
                "priority": {
                    "type": "integer",
                    "format": "int32",
                    "description": "Tier of the gateway. It is standby while any gateway of a lower priority can be"
                    " used.",
                    "minimum": 0,
                    "maximum": MAX_GATEWAY_PRIORITY,
                    "default": DEFAULT_GATEWAY_PRIORITY,
                },
                "interface": {
                    "type": "string",
                    "description": "Name of the interface that leads to the gateway, even if the gateway is on none of"
                    " its subnets. Alternative names count too. Default: the interface whose subnet contains the"
                    " gateway.",
                    "maxLength": MAX_INTERFACE_LENGTH,
                    "pattern": INTERFACE,
                },
                "nodeSelector": node_selector_schema(
                    "Nodes that may use the gateway, among those that the StaticRoute selects. Default: all of them."
                ),
            },
        },
        "x-kubernetes-validations": [
            rule(
                "self.all(a, a.address.contains(':') == self[0].address.contains(':'))",
                "gateways must be of one address family: all IPv4 or all IPv6",
            ),
            rule(
                "self.all(a, !isIP(a.address) ||"
                " self.exists_one(b, isIP(b.address) && ip(a.address) == ip(b.address)))",
                "each gateway must be listed once",
            ),
        ],
    }


def _health_check() -> Schema:
    return {
        "type": "object",
        "description": "Health check, made by each node for the gateways that it may use. Without one, and until enough"
        " probes have ended, a gateway counts as up.",
        "properties": {
            "type": {
                "type": "string",
                "description": "ICMP sends an echo request; TCP opens a connection to the port; HTTP sends a GET to the"
                " port, which must be answered with a status of 200 to 399.",
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
                "description": f"Path for HTTP. Default: {DEFAULT_PATH}.",
                "maxLength": MAX_PATH_LENGTH,
                "pattern": HTTP_PATH,
            },
            "interval": {
                **duration_schema("Time between probes, such as 100ms or 2s.", INTERVALS),
                "default": DEFAULT_INTERVAL,
            },
            "timeout": duration_schema(
                "Time within which a probe must be answered. Default: learned from the round-trip times.", TIMEOUTS
            ),
            "failureThreshold": threshold_schema(
                "Number of lost probes in a row that make a gateway down.", DEFAULT_FAILURE_THRESHOLD
            ),
            "successThreshold": threshold_schema(
                "Number of answered probes in a row that bring a gateway up again.",
                DEFAULT_SUCCESS_THRESHOLD,
            ),
        },
        "x-kubernetes-validations": [
            rule(
                "self.type == 'ICMP' ? !has(self.port) : has(self.port)",
                "port must be set for TCP and HTTP, and not for ICMP",
            ),
            rule("self.type == 'HTTP' || !has(self.path)", "path may be set only for HTTP"),
        ],
    }


def _rollout() -> Schema:
    return {
        "type": "object",
        "description": "Staged roll-out of a new generation: a few nodes use it first, and more follow when these are"
        " ready. The order of the nodes is always the same. Until its turn comes, a node keeps the generation that it"
        " has. The deletion of the object is not staged. Default: all nodes at once, unless the operator's setting"
        " rollout is set.",
        "properties": {
            "maxUnavailable": {
                "description": "Batch size: a number of nodes, or a percentage of the selected nodes, rounded up.",
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "default": 1,
                "x-kubernetes-validations": [
                    rule(
                        f"type(self) == string ? self.matches(r'{PERCENTAGE}') : self >= 1",
                        "must be a number of nodes, such as 1, or a percentage, such as 25%",
                    )
                ],
            },
            "pauseOnFailure": {
                "type": "boolean",
                "description": "If true, no further node gets the new generation while a node that has it fails.",
                "default": True,
            },
        },
    }
