"""Addresses of the cluster that no route may capture, published by the controller in a ConfigMap.

Without the ConfigMap each agent would have to watch all Nodes, which change all the time. Each key in the data of the
ConfigMap is one kind of addresses, one address per line.

Every address is the claim of a program that may lie: the kubelet writes the addresses of its Node, and an owner of a
stolen token writes the ConfigMap. So the controller bounds each claim before it publishes the claim, and each agent
bounds the whole list again before it believes the list.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

from static_route_operator.api.addresses import SPECIAL_RANGES
from static_route_operator.errors import InvalidAddressesError, InvalidPrefixError
from static_route_operator.routing.prefixes import (
    contains,
    mask,
    pack_address,
    pack_prefix,
    supernet,
    unpack_address,
    unpack_prefix,
)
from static_route_operator.routing.subtraction import outermost_of

NAME: Final = "k8s-staticroute-operator-addresses"

# Characters of an address or CIDR; the longest IPv6 CIDR has 43.
LONGEST: Final = 49
# Bytes of the data of the ConfigMap. 5,000 nodes with an InternalIP, an ExternalIP and a pod range of each family take
# 500,000; the API server stores 1 MiB.
LARGEST_DATA: Final = 640_000
# Addresses and CIDRs in the ConfigMap, for which an agent needs about 10 MiB.
MOST_ADDRESSES: Final = 40_000
# Bytes of the ConfigMap as JSON, with metadata and escaped line ends, that an agent reads before it gives up.
LARGEST_OBJECT: Final = 1_200_000

# Addresses of one Node: hosts with many interfaces have a few of each family.
MOST_PER_NODE: Final = 16
# Pod ranges of one Node: the API server accepts one of each family.
MOST_POD_CIDRS: Final = 2
# Ranges of Services, and addresses of the API server: clusters have a few of each.
MOST_SERVICE_CIDRS: Final = 16
MOST_API_SERVERS: Final = 32
# Entries of a list that are looked at; the others are dropped unread.
_MOST_READ: Final = 100


class Broadest(NamedTuple):
    """The least prefix lengths of a range."""

    ipv4: int
    ipv6: int

    def of(self, address: bytes) -> int:
        """Return the least length for the family of a packed address."""
        return self.ipv4 if len(address) == _IPV4_SIZE else self.ipv6


_IPV4_SIZE: Final = 4
_ONE_ADDRESS: Final = Broadest(32, 128)
# Kubernetes gives a node a /24 and a /64. Sixteen times as much leaves room for nodes with thousands of pods.
POD_CIDR: Final = Broadest(20, 60)
# The API server accepts no broader IPv4 range of Services, and IPv6 ranges that are much narrower.
SERVICE_CIDR: Final = Broadest(12, 64)
# Adjacent pod ranges are published as one, of these lengths at the most: then no line of the list can be broad.
COLLAPSED: Final = Broadest(12, 48)
# Total size of all ranges of a family: 5,000 nodes with the broadest pod range and the broadest range of Services.
ALL_RANGES: Final = Broadest(7, 38)


class Kind(NamedTuple):
    """A kind of addresses.

    Attributes:
        key: key in the data of the ConfigMap.
        what: role of the addresses, as messages name them.
        broadest: least prefix lengths.
    """

    key: str
    what: str
    broadest: Broadest = _ONE_ADDRESS


NODES: Final = Kind("nodes", "InternalIP of a node")
EXTERNAL: Final = Kind("externalIPs", "ExternalIP of a node")
PODS: Final = Kind("pods", "pods of the cluster", COLLAPSED)
SERVICES: Final = Kind("services", "Services of the cluster", COLLAPSED)
API_SERVERS: Final = Kind("apiServers", "API server")
KINDS: Final = (NODES, EXTERNAL, PODS, SERVICES, API_SERVERS)

_TYPES: Final = {"InternalIP": NODES, "ExternalIP": EXTERNAL}


class Claims(NamedTuple):
    """The usable part of a list of addresses or CIDRs.

    Attributes:
        prefixes: packed prefixes, each once, in the order of the list.
        problems: text about each part that is dropped, for people.
    """

    prefixes: tuple[bytes, ...]
    problems: tuple[str, ...]


def bounded(texts: object, most: int, broadest: Broadest = _ONE_ADDRESS) -> Claims:
    """Return the usable claims of a list, whatever the list holds.

    Args:
        texts: addresses or CIDRs; anything but a list has none.
        most: number of claims that are kept.
        broadest: least prefix lengths; by default single addresses.
    """
    kept: dict[bytes, None] = {}
    problems = []
    entries = texts if isinstance(texts, (list, tuple)) else ()
    for text in islice(entries, _MOST_READ):
        try:
            prefix = pack_claim(text, broadest)
        except InvalidPrefixError as error:
            problems.append(str(error))
            continue
        if prefix in kept:
            continue
        if len(kept) == most:
            problems.append(f"only the first {most} of its {len(entries)} addresses or ranges count")
            break
        kept[prefix] = None
    return Claims(tuple(kept), tuple(problems))


def pack_claim(text: object, broadest: Broadest = _ONE_ADDRESS) -> bytes:
    """Return the packed prefix of a claimed unicast address or CIDR; host bits of a CIDR are ignored.

    Raises:
        InvalidPrefixError: nobody can rightly claim this.
    """
    if not isinstance(text, str) or len(text) > LONGEST or not (text.isascii() and text.isprintable()):
        raise InvalidPrefixError("a text that is too long or has other characters is not an IP address or CIDR")
    host, slash, length_text = text.partition("/")
    address = pack_address(host)
    bits = len(address) * 8
    if slash and not (length_text.isdigit() and int(length_text) <= bits):
        raise InvalidPrefixError(f"'{text}' is not an IP address or CIDR: the length must be 0 to {bits}")
    length = int(length_text) if slash else bits
    if length < broadest.of(address):
        least = broadest.of(address)
        bound = "is not a single address" if least == bits else f"is broader than the limit of /{least}"
        raise InvalidPrefixError(f"'{text}' {bound}")
    prefix = supernet(address, length)
    for special in SPECIAL_RANGES:
        if contains(special.prefix, prefix) or contains(prefix, special.prefix):
            raise InvalidPrefixError(f"'{text}' is in {special.cidr} ({special.what}), which is not unicast")
    return prefix


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """The usable addresses that a Node claims.

    Attributes:
        internal: ``status.addresses`` of type InternalIP, as packed prefixes.
        external: ``status.addresses`` of type ExternalIP, as packed prefixes.
        pod_cidrs: ``spec.podCIDRs``, as packed prefixes.
        problems: text about each claim that is dropped, for people.
    """

    internal: tuple[bytes, ...] = ()
    external: tuple[bytes, ...] = ()
    pod_cidrs: tuple[bytes, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "NodeAddresses":
        """Read the addresses from a Node, whatever its kubelet has written."""
        listed = _get(body, "status", "addresses")
        entries = listed if isinstance(listed, list) else []
        texts: dict[Kind, list[object]] = {NODES: [], EXTERNAL: []}
        for each in islice(entries, _MOST_READ):
            if isinstance(each, Mapping) and (kind := _TYPES.get(each.get("type", ""))):
                texts[kind].append(each.get("address"))
        internal = bounded(texts[NODES], MOST_PER_NODE)
        external = bounded(texts[EXTERNAL], MOST_PER_NODE - len(internal.prefixes))
        pods = bounded(_get(body, "spec", "podCIDRs"), MOST_POD_CIDRS, POD_CIDR)
        problems = (*internal.problems, *external.problems, *(f"podCIDRs: {each}" for each in pods.problems))
        return cls(internal.prefixes, external.prefixes, pods.prefixes, problems)

    @property
    def share(self) -> float:
        """Return the share of the list that the claims take: of its lines, or of the space of its ranges."""
        lines = len(self.internal) + len(self.external) + len(self.pod_cidrs)
        return max(lines / MOST_ADDRESSES, sum(2.0 ** (ALL_RANGES.of(each[:-1]) - each[-1]) for each in self.pod_cidrs))


def _get(body: Mapping[str, Any], part: str, field: str) -> object:
    found = body.get(part)
    return found.get(field) if isinstance(found, Mapping) else None


def make_data(
    nodes: Mapping[str, NodeAddresses], service_cidrs: Iterable[bytes], api_servers: Iterable[bytes]
) -> tuple[dict[str, str], list[str]]:
    """Return the data of the ConfigMap, which does not depend on the order of the addresses, and the nodes left out.

    If the list would exceed the bounds within which agents believe the list, the nodes with the most claims are left
    out: not the newest ones, since then a node that claims much would keep out all that join later.

    Args:
        nodes: addresses of each Node, by name.
        service_cidrs: packed ranges of Services.
        api_servers: packed addresses of the API server.
    """
    # The greediest last, so that the end of the list is left out.
    order = sorted(nodes, key=lambda name: (nodes[name].share, name))
    services, servers = list(service_cidrs), list(api_servers)

    def data_of(number: int) -> dict[str, str]:
        return _data([nodes[name] for name in order[:number]], services, servers)

    data = data_of(len(order))
    if not _excess(data):
        return data, []
    kept = bisect_left(range(len(order)), 1, key=lambda number: bool(_excess(data_of(number + 1))))
    return data_of(kept), order[kept:]


def parse_data(data: object) -> dict[str, Claims]:
    """Return the claims in the data of the ConfigMap by the role of the addresses. Unknown keys are ignored.

    Raises:
        InvalidAddressesError: the list as a whole can't be believed: no address, or more than a cluster can have.
    """
    texts = {}
    for kind in KINDS:
        value = data.get(kind.key) if isinstance(data, Mapping) else None
        texts[kind] = value if isinstance(value, str) else ""
    if sum(map(len, texts.values())) > LARGEST_DATA:
        raise InvalidAddressesError(f"it has more than {LARGEST_DATA} bytes")
    lines = {kind: text.split() for kind, text in texts.items()}
    if (number := sum(map(len, lines.values()))) > MOST_ADDRESSES:
        raise InvalidAddressesError(f"it has {number} addresses, more than {MOST_ADDRESSES}")
    found = {kind.what: _read(lines[kind], kind.broadest) for kind in KINDS}
    if not any(claims.prefixes for claims in found.values()):
        raise InvalidAddressesError("it has no address, so something has emptied it")
    if problem := _excess_of_ranges([*found[PODS.what].prefixes, *found[SERVICES.what].prefixes]):
        raise InvalidAddressesError(problem)
    return found


def _read(lines: Iterable[str], broadest: Broadest) -> Claims:
    prefixes, problems = [], []
    for line in lines:
        try:
            prefixes.append(pack_claim(line, broadest))
        except InvalidPrefixError as error:
            problems.append(str(error))
    return Claims(tuple(prefixes), tuple(problems))


def _data(nodes: Iterable[NodeAddresses], services: Iterable[bytes], servers: Iterable[bytes]) -> dict[str, str]:
    known = list(nodes)
    return {
        NODES.key: _lines(prefix for each in known for prefix in each.internal),
        EXTERNAL.key: _lines(prefix for each in known for prefix in each.external),
        # The pod ranges of most nodes are adjacent, so that thousands collapse to a few.
        PODS.key: _lines(_collapsed(prefix for each in known for prefix in each.pod_cidrs)),
        SERVICES.key: _lines(services),
        API_SERVERS.key: _lines(servers),
    }


def _excess(data: Mapping[str, str]) -> str:
    """Return the reason why agents would not believe a list; empty if they would."""
    if sum(map(len, data.values())) > LARGEST_DATA:
        return "too large"
    if sum(text.count("\n") for text in data.values()) > MOST_ADDRESSES:
        return "too long"
    return _excess_of_ranges(pack_prefix(line) for key in (PODS.key, SERVICES.key) for line in data[key].split())


def _excess_of_ranges(ranges: Iterable[bytes]) -> str:
    """Return the reason why ranges cover more than a cluster can have; empty if they do not."""
    for family in _by_family(ranges):
        address = family[0][:-1]
        most = ALL_RANGES.of(address)
        if _space(outermost_of(family)) > 1 << (len(address) * 8 - most):
            return f"its ranges cover more than a /{most} of {'IPv4' if len(address) == _IPV4_SIZE else 'IPv6'}"
    return ""


def _by_family(prefixes: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield packed prefixes, those of each family together."""
    for _, family in groupby(sorted(prefixes, key=len), key=len):
        yield list(family)


def _space(ranges: Iterable[bytes]) -> int:
    """Return the number of addresses in ranges."""
    return sum(1 << ((len(each) - 1) * 8 - each[-1]) for each in ranges)


def _lines(prefixes: Iterable[bytes]) -> str:
    return "".join(f"{_text(prefix)}\n" for prefix in sorted(set(prefixes), key=lambda each: (len(each), each)))


def _text(prefix: bytes) -> str:
    return unpack_address(prefix[:-1]) if prefix[-1] == (len(prefix) - 1) * 8 else unpack_prefix(prefix)


def _collapsed(ranges: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the fewest ranges that cover the same addresses, none of them broader than `COLLAPSED`."""
    for family in _by_family(ranges):
        stack: list[bytes] = []
        for each in outermost_of(family):
            last = each
            # Two halves of one range that follow each other become that range.
            while stack and last[-1] > COLLAPSED.of(last[:-1]) and stack[-1] == _lower_half(last):
                stack.pop()
                last = supernet(last[:-1], last[-1] - 1)
            stack.append(last)
        yield from stack


def _lower_half(prefix: bytes) -> bytes:
    """Return the lower half of the range that a prefix is one half of."""
    return mask(prefix[:-1], prefix[-1] - 1) + prefix[-1:]
