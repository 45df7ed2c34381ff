"""The StaticRoute object as this program holds it: its spec as written, read from the JSON or YAML form."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from static_route_operator.api import API_VERSION
from static_route_operator.api.destinations import Destinations, parse_destinations
from static_route_operator.api.fields import Fields
from static_route_operator.api.gateways import Gateway, WhenAllDown, parse_gateways, parse_when_all_down
from static_route_operator.api.healthcheck import Check, parse_check
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.api.options import Options, parse_options
from static_route_operator.api.rollout import Rollout, parse_rollout
from static_route_operator.errors import InvalidSpecError, shown
from static_route_operator.routing.keys import TABLE_DEFAULT_ROUTE

KIND = "StaticRoute"
PLURAL = "staticroutes"

DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """One StaticRoute, as its spec has it; `api.resolution` makes of it what a node works with.

    Attributes:
        name: ``metadata.name``.
        uid: ``metadata.uid``; a re-created object of the same name has another one.
        generation: ``metadata.generation``, which moves with the spec only; 0 where the object has none.
        created: ``metadata.creationTimestamp`` as text (RFC 3339, so it sorts by time).
        destinations: the entries of ``spec.destinations``, of the gateways' family.
        gateways: at least one, all of one address family.
        priority: precedence between objects that want the same prefix: the lower number, then the older object, then
            the name.
        node_selector: the nodes the object is for; None means every node.
        options: fields that say more about the routes than where they lead.
        check: the probe of the gateways; None takes them for up.
        when_all_down: the fate of the routes on a node that can use none of the gateways.
        dry_run: nodes change nothing, and report what they would do.
        rollout: the order in which a new version reaches the nodes; None where the object does not say.
        takes_default: the object is a default route: its routes stand in a table of their own, to which rules lead.
        manifest: the JSON form without ``spec.destinations``.
    """

    name: str
    uid: str
    generation: int
    created: str
    destinations: Destinations
    gateways: tuple[Gateway, ...]
    priority: int = DEFAULT_PRIORITY
    node_selector: NodeSelector | None = None
    options: Options = field(default_factory=Options)
    check: Check | None = None
    when_all_down: WhenAllDown = WhenAllDown.KEEP
    dry_run: bool = False
    rollout: Rollout | None = None
    takes_default: bool = False
    manifest: str = field(default="", compare=False, repr=False)

    @property
    def selective(self) -> bool:
        """Report whether the labels of a node decide what the object does there."""
        return self.node_selector is not None or any(each.node_selector is not None for each in self.gateways)

    @property
    def precedence(self) -> tuple[int, str, str]:
        """Return the sort key by which the first of two objects that want the same prefix gets it."""
        return (self.priority, self.created, self.name)

    def identified(self, uid: str, generation: int) -> Self:
        """Return this object with another uid and generation, as an API server would set them."""
        body = json.loads(self.manifest)
        body["metadata"] |= {"uid": uid, "generation": generation}
        return replace(self, uid=uid, generation=generation, manifest=_compact(body))

    @property
    def digest(self) -> str:
        """Return a digest of the spec: equal for equal specs, whatever the uid and the generation."""
        spec = json.dumps(json.loads(self.manifest)["spec"], sort_keys=True)
        return hashlib.blake2b(spec.encode() + b"\n" + self.destinations.prefixes, digest_size=16).hexdigest()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Read an object as the API server sends it, or as it stands in a manifest.

        A destination that can't be routed is kept apart and does not stop the others: the API server refuses it at
        `kubectl apply`, but an object may be older than the CRD's rules.

        Raises:
            InvalidSpecError: nothing of the object can be used. The error names the field.
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
        gateways = parse_gateways(name, spec)
        entries = spec.get("destinations")
        if not isinstance(entries, list) or not entries:
            raise InvalidSpecError(name, "spec.destinations", "must be a list of at least one IP address or CIDR")
        allow_default = Fields(name, "", spec).boolean("allowDefaultRoute")
        destinations = parse_destinations(entries, _family(gateways), allow_default=allow_default)
        return cls._read(name, metadata, spec, gateways, destinations)

    @classmethod
    def restore(cls, manifest: str, destinations: Destinations) -> Self:
        """Return the object that had this manifest and these destinations.

        Raises:
            InvalidSpecError: nothing of the object can be used. The error names the field.
        """
        body = json.loads(manifest)
        name, spec = body["metadata"]["name"], body["spec"]
        return cls._read(name, body["metadata"], spec, parse_gateways(name, spec), destinations)

    @classmethod
    def _read(
        cls,
        name: str,
        metadata: Mapping[str, Any],
        spec: Mapping[str, Any],
        gateways: tuple[Gateway, ...],
        destinations: Destinations,
    ) -> Self:
        priority = spec.get("priority", DEFAULT_PRIORITY)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidSpecError(name, "spec.priority", f"{shown(priority)} is not a whole number")
        fields = Fields(name, "", spec)
        options = parse_options(name, spec, _family(gateways))
        takes_default = spec.get("table") is None and destinations.has_default
        if takes_default:
            options = replace(options, table=TABLE_DEFAULT_ROUTE)
            if options.on_link and not all(gateway.interface for gateway in gateways):
                problem = "needs the interface of each gateway of a default route; name the interfaces in spec.gateways"
                raise InvalidSpecError(name, "spec.onLink", problem)
        return cls(
            name=name,
            uid=_set_by_server(name, metadata, "uid", str) or name,
            generation=_set_by_server(name, metadata, "generation", int) or 0,
            created=_set_by_server(name, metadata, "creationTimestamp", str) or "",
            destinations=destinations,
            gateways=gateways,
            priority=priority,
            node_selector=fields.parse("nodeSelector", parse_node_selector),
            options=options,
            check=parse_check(name, spec),
            when_all_down=parse_when_all_down(name, spec),
            dry_run=fields.boolean("dryRun"),
            rollout=parse_rollout(name, spec),
            takes_default=takes_default,
            manifest=_manifest(metadata, spec),
        )


def _family(gateways: Sequence[Gateway]) -> bytes:
    """Return an address of the family that all destinations and options of an object must have."""
    return gateways[0].address


_T = TypeVar("_T", str, int)


def _set_by_server(name: str, metadata: Mapping[str, Any], field: str, kind: type[_T]) -> _T | None:
    """Return a field that an API server sets, and that a manifest may have too."""
    value = metadata.get(field)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise InvalidSpecError(name, f"metadata.{field}", f"{shown(value)} can't be used; leave the field out")
    return value


def _manifest(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    fields = ("name", "uid", "generation", "creationTimestamp")
    body = {
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {field: value for field, value in spec.items() if field != "destinations"},
    }
    return _compact(body)


def _compact(body: Mapping[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"))
