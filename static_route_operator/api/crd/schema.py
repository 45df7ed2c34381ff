"""Schemas that several fields share.

The CEL rules refuse values that cannot work on any node, each with a message that tells the user what to correct.
Checks that depend on the node (is the gateway on one of its subnets?) are made on the node. The cost estimate of the
API server limits the rules: a rule on each destination must be cheap in its length, and no message may format a parsed
CIDR.
"""

from static_route_operator.api.crd.definition import Schema
from static_route_operator.api.fields import DURATION, MAX_DURATION_LENGTH
from static_route_operator.api.healthcheck import MAX_THRESHOLD
from static_route_operator.api.nodeselector import OPERATORS

MAX_DESTINATIONS = 20_000
MAX_EXCLUDES = 1_000
MAX_PRIORITY = 1_000

# Characters of the longest address (IPv6 in full with an embedded IPv4 address) and of the longest CIDR ("/128").
MAX_ADDRESS_LENGTH = 45
MAX_DESTINATION_LENGTH = 49

# Address that determines the address family of the object.
GATEWAY = "(has(self.gateway) ? self.gateway : has(self.gateways) ? self.gateways[0].address : '')"

ROUTABLE = "({address}).isGlobalUnicast() && !self.startsWith('0.')"
_LINK_LOCAL_IPV4 = "self.startsWith('169.254.')"


def rule(rule: str, message: str = "", *, expression: str = "") -> Schema:
    """Return a CEL rule with its message: a fixed text, or a CEL expression over ``self``."""
    return {"rule": rule, "messageExpression": expression} if expression else {"rule": rule, "message": message}


def prefix_rules() -> list[Schema]:
    """Return the rules for every host and CIDR."""
    return [
        rule("isIP(self) || isCIDR(self)", expression='"\'" + self + "\' is not an IP address or CIDR"'),
        rule(
            "!isCIDR(self) || cidr(self) == cidr(self).masked()",
            expression='"\'" + self + "\' has host bits set; write the address of the network"',
        ),
    ]


def address_schema(what: str, must_be: str, description: str) -> Schema:
    """Return the schema of a unicast address.

    Args:
        what: name of the address in messages.
        must_be: description of valid addresses in messages.
        description: for the reference.
    """
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_ADDRESS_LENGTH,
        "x-kubernetes-validations": [
            rule("isIP(self)", expression=f'"{what} \'" + self + "\' is not an IP address"'),
            rule(
                f"!isIP(self) || {_LINK_LOCAL_IPV4} || ip(self).isLinkLocalUnicast() ||"
                f" {ROUTABLE.format(address='ip(self)')}",
                expression=f'"{what} \'" + self + "\' is not {must_be}"',
            ),
            rule(
                f"!isIP(self) || {_LINK_LOCAL_IPV4} || !ip(self).isLinkLocalUnicast()",
                expression=f'"{what} \'" + self + "\' is link-local, which is not supported yet: write the global or'
                f' unique local address of the {what}"',
            ),
        ],
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
                rule(
                    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
                    "operators In and NotIn need at least one value",
                ),
                rule(
                    "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
                    "operators Exists and DoesNotExist take no values",
                ),
                rule(
                    "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && size(self.values) == 1"
                    " && self.values[0].matches('^-?[0-9]{1,19}$'))",
                    "operators Gt and Lt take one whole number, in quotes",
                ),
            ],
        },
    }


def node_selector_schema(description: str) -> Schema:
    """Return the schema of a core/v1 NodeSelector."""
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


def of_one_family(texts: str) -> str:
    """Return a CEL expression that holds if a list of addresses or CIDRs is of the address family of the gateway."""
    return f"[{GATEWAY}].all(g, {texts}.all(each, each.contains(':') == g.contains(':')))"


def duration_schema(description: str, bounds: tuple[str, str]) -> Schema:
    """Return the schema of a duration within ``bounds``, the shortest and the longest one."""
    least, most = bounds
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_DURATION_LENGTH,
        "pattern": DURATION,
        "x-kubernetes-validations": [
            rule(
                f"!self.matches(r'{DURATION}') || (duration(self) >= duration('{least}')"
                f" && duration(self) <= duration('{most}'))",
                f"must be from {least} to {most}",
            )
        ],
    }


def threshold_schema(description: str, default: int) -> Schema:
    """Return the schema of a number of probes in a row."""
    return {
        "type": "integer",
        "format": "int32",
        "description": description,
        "minimum": 1,
        "maximum": MAX_THRESHOLD,
        "default": default,
    }


def count_schema(description: str) -> Schema:
    """Return the schema of a count."""
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}
