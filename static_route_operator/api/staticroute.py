"""The StaticRoute object as this program holds it, read from its JSON or YAML form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from static_route_operator.api import API_VERSION
from static_route_operator.api.destinations import RefusedDestination, compile_destinations, is_default
from static_route_operator.api.gateways import Gateway, WhenAllDown, parse_gateways, parse_when_all_down
from static_route_operator.api.healthcheck import Check, parse_check
from static_route_operator.api.nodeselector import NodeSelector, parse_node_selector
from static_route_operator.api.options import Options, parse_options
from static_route_operator.api.rollout import Rollout, parse_rollout
from static_route_operator.errors import InvalidSpecError
from static_route_operator.routing.keys import TABLE_DEFAULT_ROUTE, unpack_table_metric
from static_route_operator.routing.keyset import KeySet

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
        gateways: at least one, all of one address family.
        keys: of the routes to its destinations without its excludes, of the gateways' family.
        refused: the entries of ``spec.destinations`` that have none.
        priority: between objects that want the same prefix the lower one wins, then the older, then the name.
        node_selector: the nodes it is for; None means every node.
        options: what it says about its routes beside where they lead.
        check: how its gateways are checked; None takes them for up.
        when_all_down: what is done on a node on which none of its gateways can be used.
        dry_run: nothing is done, but told what would be.
        rollout: how a new generation reaches the nodes; None where the object does not say.
        manifest: what it was parsed from, but for its destinations, as JSON.
        takes_default: it is a default route: its routes stand in a table of their own, to which rules lead.
    """

    name: str
    uid: str
    generation: int
    created: str
    gateways: tuple[Gateway, ...]
    keys: KeySet
    refused: tuple[RefusedDestination, ...] = ()
    priority: int = DEFAULT_PRIORITY
    node_selector: NodeSelector | None = None
    options: Options = field(default_factory=Options)
    check: Check | None = None
    when_all_down: WhenAllDown = WhenAllDown.KEEP
    dry_run: bool = False
    rollout: Rollout | None = None
    manifest: str = field(default="", compare=False, repr=False)
    takes_default: bool = False

    @property
    def gateway(self) -> bytes:
        """The packed address of the first gateway."""
        return self.gateways[0].address

    @property
    def selective(self) -> bool:
        """Whether it takes the labels of a node to tell what it is to do there."""
        return self.node_selector is not None or any(each.node_selector is not None for each in self.gateways)

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
        gateways = parse_gateways(name, spec)
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
        family = gateways[0].address
        options = parse_options(name, spec, family)
        allow_default = _allows_default(name, spec)
        takes_default = allow_default and spec.get("table") is None and any(map(is_default, entries))
        if takes_default:
            options = replace(options, table=TABLE_DEFAULT_ROUTE)
            if options.on_link and not all(gateway.interface for gateway in gateways):
                problem = "does not tell on which interface the gateway of a default route is; name it in spec.gateways"
                raise InvalidSpecError(name, "spec.onLink", problem)
        keys, refused = compile_destinations(
            entries, family, options.table_metric, options.excludes, allow_default=allow_default
        )
        return cls(
            name=name,
            uid=metadata.get("uid") or name,
            generation=metadata.get("generation") or 0,
            created=metadata.get("creationTimestamp") or "",
            gateways=gateways,
            keys=keys,
            refused=refused,
            priority=priority,
            node_selector=node_selector,
            options=options,
            check=parse_check(name, spec),
            when_all_down=parse_when_all_down(name, spec),
            dry_run=_parse_dry_run(name, spec),
            rollout=parse_rollout(name, spec),
            takes_default=takes_default,
            manifest=_manifest(metadata, spec),
        )

    @classmethod
    def restore(cls, manifest: str, keys: KeySet, refused: tuple[RefusedDestination, ...]) -> Self:
        """The object that had this manifest, these keys and these refused destinations.

        Raises:
            InvalidSpecError: nothing of the object can be used: it names the field.
        """
        body = json.loads(manifest)
        # Any will do: what came of its own ones is given.
        in_its_own_table = bool(keys) and unpack_table_metric(keys[0])[0] == TABLE_DEFAULT_ROUTE
        body["spec"]["destinations"] = ["0.0.0.0/0" if in_its_own_table else "192.0.2.1"]
        return replace(cls.parse(body), keys=keys, refused=refused)


def _manifest(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    fields = ("name", "uid", "generation", "creationTimestamp")
    body = {
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {field: value for field, value in spec.items() if field != "destinations"},
    }
    # YAML knows dates, JSON does not.
    return json.dumps(body, separators=(",", ":"), default=str)


def _allows_default(name: str, spec: Mapping[str, Any]) -> bool:
    value = spec.get("allowDefaultRoute")
    if value is not None and not isinstance(value, bool):
        raise InvalidSpecError(name, "spec.allowDefaultRoute", f"'{value}' is not true or false")
    return bool(value)


def _parse_dry_run(name: str, spec: Mapping[str, Any]) -> bool:
    value = spec.get("dryRun", False)
    if not isinstance(value, bool):
        raise InvalidSpecError(name, "spec.dryRun", f"'{value}' is not true or false")
    return value
