"""Facts of a node: the input of the guards and of the choice of output interfaces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.rules import Rule


class Subnet(NamedTuple):
    """A subnet that is directly connected to this node.

    Attributes:
        prefix: packed prefix.
        interface: name of the interface that has an address in the subnet.
    """

    prefix: bytes
    interface: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a node at one moment.

    Attributes:
        addresses: packed addresses of the node's own interfaces, with the interface's name.
        subnets: the subnets that these addresses make directly reachable.
        lookups: look-ups of gateways and sources by packed address; an address without a route is absent.
        protected: the destinations whose routes must not change.
        foreign: the routes of other programs; not read, and empty, while no destination meets a protected one.
        interfaces: names of the interfaces by index.
        down: names of the interfaces that are administratively down.
        rules: the policy rules that may lead packets of this node itself; not read, and empty, while no StaticRoute
            names a table.
    """

    addresses: Mapping[bytes, str] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] = ()
    lookups: Mapping[bytes, Lookup] = field(default_factory=dict)
    protected: Protection = field(default_factory=Protection)
    foreign: ForeignRib = field(default_factory=ForeignRib)
    interfaces: Mapping[int, str] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()

    def index(self, interface: str) -> int:
        """Return the index of an interface; 0 without an interface of this name."""
        return next((index for index, name in self.interfaces.items() if name == interface), 0)
