"""The StaticRoute object as this program holds it, read from its JSON or YAML form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from static_route_operator.api import API_VERSION
from static_route_operator.api.destinations import RefusedDestination, compile_destinations, parse_gateway
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.api.options import Options, parse_options
from static_route_operator.errors import InvalidPrefixError, InvalidSpecError
from static_route_operator.keys import Keys

KIND = "StaticRoute"
PLURAL = "staticroutes"

DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """One StaticRoute, compiled once per generation.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``; a re-created object of the same name has another one.
        generation: ``metadata.generation``: moves with the spec only.
        created: ``metadata.creationTimestamp`` as text (RFC 3339, so it sorts by time).
        gateway: packed address.
        keys: of the routes to its destinations without its excludes, of the gateway's family.
        refused: the entries of ``spec.destinations`` that have none.
        priority: between objects that want the same prefix the lower one wins, then the older, then the name.
        node_selector: the nodes it is for; None means every node.
        options: what it says about its routes beside where they lead.
    """

    name: str
    uid: str
    generation: int
    created: str
    gateway: bytes
    keys: Keys
    refused: tuple[RefusedDestination, ...] = ()
    priority: int = DEFAULT_PRIORITY
    node_selector: NodeSelector | None = None
    options: Options = field(default_factory=Options)

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
        options = parse_options(name, spec, gateway)
        keys, refused = compile_destinations(entries, gateway, options.tail, options.excludes)
        return cls(
            name=name,
            uid=metadata.get("uid") or name,
            generation=metadata.get("generation") or 0,
            created=metadata.get("creationTimestamp") or "",
            gateway=gateway,
            keys=keys,
            refused=refused,
            priority=priority,
            node_selector=node_selector,
            options=options,
        )
