"""The addresses of the cluster that no route may capture, as the controller tells them to all agents in one ConfigMap.

Each agent would else watch all Nodes, which change all the time. One list in the data of the ConfigMap is one kind of
addresses, one per line.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = "k8s-staticroute-operator-addresses"

# By the key of the list, what each of its lines is in a message.
KINDS: Final = {
    "nodes": "InternalIP of a node",
    "pods": "pods of the cluster",
    "services": "Services of the cluster",
    "apiServers": "API server",
}


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """What is known of a Node.

    Attributes:
        internal: its InternalIPs.
        pod_cidrs: ``spec.podCIDRs``.
    """

    internal: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "NodeAddresses":
        """What a Node says."""
        addresses = (body.get("status") or {}).get("addresses") or ()
        return cls(
            tuple(each["address"] for each in addresses if each.get("type") == "InternalIP"),
            tuple((body.get("spec") or {}).get("podCIDRs") or ()),
        )


def make_data(
    nodes: Iterable[NodeAddresses], service_cidrs: Iterable[str], api_servers: Iterable[str]
) -> dict[str, str]:
    """The data of the ConfigMap; the same for the same addresses, in whatever order they come."""
    known = list(nodes)
    return {
        "nodes": _lines(address for each in known for address in each.internal),
        # Those of neighbouring nodes are mostly adjacent: thousands become a few.
        "pods": _lines(_collapsed(cidr for each in known for cidr in each.pod_cidrs)),
        "services": _lines(service_cidrs),
        "apiServers": _lines(api_servers),
    }


def parse_data(data: Mapping[str, str]) -> dict[str, list[str]]:
    """By what they are, the addresses and CIDRs in the data of the ConfigMap; of unknown lists those are left out."""
    return {what: data.get(key, "").split() for key, what in KINDS.items()}


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
