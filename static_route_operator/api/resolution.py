"""Resolution of StaticRoutes: from a spec as written to the keys and gateways that a node works with.

Everything after this step (plan, guards, gateway selection, roll-back, state on disk) takes keys and gateways from the
resolved form only. So a source of prefixes or gateways beside the spec itself concerns this step and no other.
"""

from dataclasses import dataclass
from typing import NamedTuple

from static_route_operator.api.destinations import RefusedDestination, compile_keys
from static_route_operator.api.gateways import Gateway
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.routing.keys import TABLE_METRIC
from static_route_operator.routing.keyset import KeySet


class Version(NamedTuple):
    """Identity of one version of one object.

    Attributes:
        uid: ``metadata.uid``.
        generation: ``metadata.generation``, which moves with the spec.
        revision: state of the sources beside the spec; empty where the spec is the only source. An object without a
            generation has a digest of its content here.
    """

    uid: str
    generation: int
    revision: str = ""

    def __str__(self) -> str:
        """Describe the version for people, beside the name of the object."""
        return f"generation {self.generation}" + (f", revision {self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """One version of a StaticRoute, ready to be planned.

    Attributes:
        spec: the object as written.
        keys: keys of the routes to all destinations without the excludes.
        gateways: all gateways, of the family of the keys.
        refused: destinations that have no key.
        revision: see `Version`.
    """

    spec: StaticRoute
    keys: KeySet
    gateways: tuple[Gateway, ...]
    refused: tuple[RefusedDestination, ...] = ()
    revision: str = ""

    @property
    def name(self) -> str:
        """Return the name of the object."""
        return self.spec.name

    @property
    def uid(self) -> str:
        """Return the uid of the object."""
        return self.spec.uid

    @property
    def generation(self) -> int:
        """Return the generation of the spec."""
        return self.spec.generation

    @property
    def version(self) -> Version:
        """Return the identity of this version."""
        return Version(self.spec.uid, self.spec.generation, self.revision)

    @property
    def address_size(self) -> int:
        """Return the bytes of a packed address, which tell the families apart."""
        return self.keys.size - TABLE_METRIC.size - 1

    @property
    def destinations(self) -> int:
        """Return the number of destinations, refused ones included."""
        return len(self.keys) + len(self.refused)


def resolve(route: StaticRoute) -> ResolvedRoute:
    """Resolve a StaticRoute; equal destinations come out as one KeySet, whichever version or object names them."""
    options, refused = route.options, route.destinations.refused
    keys = compile_keys(route.destinations, options.excludes, options.table_metric)
    if route.destinations.prefixes and not keys:
        refused += (RefusedDestination("", "spec.excludes leaves nothing of the destinations"),)
    return ResolvedRoute(route, keys, route.gateways, refused, "" if route.generation else route.digest)
