"""The StaticRoute object as this program holds it, read from its JSON or YAML form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from static_route_operator.api import API_VERSION
from static_route_operator.api.destinations import parse_destination, parse_gateway
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.errors import InvalidPrefixError, InvalidSpecError
from static_route_operator.prefixes import unpack_address

KIND = "StaticRoute"
PLURAL = "staticroutes"

DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class RefusedDestination:
    """An entry of ``spec.destinations`` that can't be routed, and why."""

    text: str
    problem: str


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """One StaticRoute, compiled once per generation.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``; a re-created object of the same name has another one.
        generation: ``metadata.generation``: moves with the spec only.
        created: ``metadata.creationTimestamp`` as text (RFC 3339, so it sorts by time).
        gateway: packed address.
        destinations: packed prefixes of the gateway's family, sorted, each once.
        refused: the entries of ``spec.destinations`` that are not among them.
        priority: between objects that want the same prefix the lower one wins, then the older, then the name.
        node_selector: the nodes it is for; None means every node.
    """

    name: str
    uid: str
    generation: int
    created: str
    gateway: bytes
    destinations: tuple[bytes, ...]
    refused: tuple[RefusedDestination, ...] = ()
    priority: int = DEFAULT_PRIORITY
    node_selector: NodeSelector | None = None

    @property
    def precedence(self) -> tuple[int, str, str]:
        """Sort key: the first of two objects that want the same prefix gets it."""
        return (self.priority, self.created, self.name)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Read an object as the API server sends it, or as it stands in a manifest.

        A destination that can't be routed is kept apart in ``refused`` and does not stop the others: the API server
        refuses it at `kubectl apply`, but an object may be older than the CRD's rules.

        Raises:
            InvalidSpecError: nothing of the object can be used: it names the field.
        """
        metadata = body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(name, str) or not name:
            raise InvalidSpecError("(unnamed)", "metadata.name", "is missing; give the object a name")
        if body.get("apiVersion", API_VERSION) != API_VERSION or body.get("kind", KIND) != KIND:
            raise InvalidSpecError(name, "apiVersion", f"must be {API_VERSION}, and kind {KIND}")
        spec = body.get("spec")
        if not isinstance(spec, Mapping):
            raise InvalidSpecError(name, "spec", "is missing; it needs destinations and a gateway")
        if "gateway" not in spec:
            raise InvalidSpecError(name, "spec.gateway", "is missing; name the gateway's IP address")
        try:
            gateway = parse_gateway(spec["gateway"])
        except InvalidPrefixError as error:
            raise InvalidSpecError(name, "spec.gateway", str(error)) from None
        entries = spec.get("destinations")
        if not isinstance(entries, list) or not entries:
            raise InvalidSpecError(name, "spec.destinations", "must be a list of at least one IP address or CIDR")
        priority = spec.get("priority", DEFAULT_PRIORITY)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidSpecError(name, "spec.priority", f"'{priority}' is not a whole number")
        node_selector = None
        if (selector := spec.get("nodeSelector")) is not None:
            try:
                node_selector = parse_node_selector(selector)
            except ValueError as error:
                raise InvalidSpecError(name, "spec.nodeSelector", str(error)) from None
        destinations, refused = _parse_destinations(entries, gateway)
        return cls(
            name=name,
            uid=metadata.get("uid") or name,
            generation=metadata.get("generation") or 0,
            created=metadata.get("creationTimestamp") or "",
            gateway=gateway,
            destinations=destinations,
            refused=refused,
            priority=priority,
            node_selector=node_selector,
        )


def _parse_destinations(entries: list[Any], gateway: bytes) -> tuple[tuple[bytes, ...], tuple[RefusedDestination, ...]]:
    prefixes = set()
    refused = []
    size = len(gateway) + 1
    for entry in entries:
        try:
            prefix = parse_destination(entry)
        except InvalidPrefixError as error:
            refused.append(RefusedDestination(str(entry), str(error)))
            continue
        if len(prefix) == size:
            prefixes.add(prefix)
        else:
            problem = f"'{entry}' is not of the address family of gateway {unpack_address(gateway)}"
            refused.append(RefusedDestination(str(entry), problem))
    return tuple(sorted(prefixes)), tuple(refused)
