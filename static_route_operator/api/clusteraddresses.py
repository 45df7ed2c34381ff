"""Addresses of the cluster that no route may capture, published by the controller in a ConfigMap.

Without the ConfigMap each agent would have to watch all Nodes, which change all the time. Each key in the data of the
ConfigMap is one kind of addresses, one address per line.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = "k8s-staticroute-operator-addresses"

# Kinds of addresses by key in the ConfigMap, as messages name them.
KINDS: Final = {
    "nodes": "InternalIP of a node",
    "pods": "pods of the cluster",
    "services": "Services of the cluster",
    "apiServers": "API server",
}


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """The addresses of a Node.

    Attributes:
        internal: ``status.addresses`` of type InternalIP.
        pod_cidrs: ``spec.podCIDRs``.
    """

    internal: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "NodeAddresses":
        """Read the addresses from a Node."""
        addresses = (body.get("status") or {}).get("addresses") or ()
        return cls(
            tuple(each["address"] for each in addresses if each.get("type") == "InternalIP"),
            tuple((body.get("spec") or {}).get("podCIDRs") or ()),
        )


def make_data(
    nodes: Iterable[NodeAddresses], service_cidrs: Iterable[str], api_servers: Iterable[str]
) -> dict[str, str]:
    """Return the data of the ConfigMap, which does not depend on the order of the addresses."""
    known = list(nodes)
    return {
        "nodes": _lines(address for each in known for address in each.internal),
        # The pod CIDRs of most nodes are adjacent, so that thousands collapse to a few.
        "pods": _lines(_collapsed(cidr for each in known for cidr in each.pod_cidrs)),
        "services": _lines(service_cidrs),
        "apiServers": _lines(api_servers),
    }


def parse_data(data: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the addresses and CIDRs in the data of the ConfigMap by kind. Unknown keys are ignored."""
    return {kind: data.get(key, "").split() for key, kind in KINDS.items()}


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in sorted(set(texts)))


def _collapsed(cidrs: Iterable[str]) -> list[str]:
    ipv4, ipv6 = [], []
    for cidr in cidrs:
        network = ipaddress.ip_network(cidr, strict=False)
        if isinstance(network, ipaddress.IPv4Network):
            ipv4.append(network)
        else:
            ipv6.append(network)
    return [str(each) for each in (*ipaddress.collapse_addresses(ipv4), *ipaddress.collapse_addresses(ipv6))]
