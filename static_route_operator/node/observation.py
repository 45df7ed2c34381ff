"""The facts about this node that a plan needs, looked at only when they may have changed."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.foreigncache import ForeignRouteCache
from static_route_operator.kernel.network import Change, NetworkState
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib
from static_route_operator.routing.keys import TABLE_MAIN
from static_route_operator.routing.prefixes import last_address
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Operation, Routes


class Observation:
    """The last look at the node.

    Links, addresses and rules are known from notifications, so a look asks the kernel only for the routes to gateways
    and sources, and now and then for the routes of other programs.

    Args:
        fib: the kernel's tables.
        network: the links, addresses and rules.
        protected: returns the addresses that no route may capture.

    Attributes:
        foreign: the routes of other programs.
        facts: the facts of the last look; None before the first.
        outdated: whether the facts may have changed since.
        look_again: seconds after which to look again, since foreign routes have changed; 0 when they have not.
    """

    def __init__(self, fib: Fib, network: NetworkState, protected: Callable[[], Protection]) -> None:
        self._fib = fib
        self._network = network
        self._protected = protected
        self._version: object = None
        self._asked: frozenset[bytes] = frozenset()
        self._sorted: dict[int, list[bytes]] = {}
        self._names: frozenset[str] = frozenset()
        self._of_gateways: frozenset[int] = frozenset()
        self._of_routes: frozenset[int] = frozenset()
        self._uses_foreign = False
        self._passed: frozenset[bytes] = frozenset()
        self.foreign = ForeignRouteCache(fib)
        self.facts: Facts | None = None
        self.outdated = True
        self.look_again = 0.0

    async def look(self, selected: Sequence[ResolvedRoute], version: object) -> Facts:
        """Return the facts as far as these objects ask for them.

        Args:
            selected: the objects for this node.
            version: differs when the objects differ.

        Raises:
            KernelError, OSError: the kernel can't be asked.
        """
        protected = self._protected()
        self.look_again = 0.0
        known = self.facts
        if known and not self.outdated and (self._version, known.protected) == (version, protected):
            return known
        self.outdated = False
        if self._version != version:
            self._take_interest(selected)
        await self._network.ready()
        network = self._network.network
        asked = self._asked | self._passed | network.remotes
        lookups = self._fib.look_up(asked, known.lookups if known else None)
        foreign = await self._look_at_foreign(selected, protected)
        self.facts = Facts(
            network=network,
            # A look-up that ends at a route of ours says nothing about the gateway: use the route that ours hides.
            lookups={
                each: (foreign.look_up(each) if lookup.ours and each in self._asked else None) or lookup
                for each, lookup in lookups.items()
            },
            protected=protected,
            foreign=foreign,
            rules=self._network.rules if any(each.spec.options.table != TABLE_MAIN for each in selected) else (),
        )
        self._version = version
        subnets = {subnet.interface for each in self._asked for subnet in network.holding(each)}
        self._of_gateways = frozenset(
            {lookup.interface for lookup in lookups.values()} | set(map(network.index, subnets | self._names))
        )
        return self.facts

    def affects(self, operations: Iterable[Operation]) -> bool:
        """Report whether this program's changes may lead the outer packets of a tunnel elsewhere than the facts say."""
        remotes = self.facts.network.remotes if self.facts else ()
        return any(each.keys.holding(address) for each in operations for address in remotes)

    def follow(self, installed: Routes) -> None:
        """Note the interfaces and gateways of the installed routes: changes of these concern a run too."""
        hops = [hop for next_hops, _ in installed if next_hops.forwards for hop in next_hops.hops]
        self._of_routes = frozenset(hop.interface for hop in hops)
        self._passed = frozenset(hop.gateway for hop in hops if any(hop.gateway))
        self._sort()

    def concerns(self, change: Change) -> bool:
        """Report whether a change may move a route at once; any other one can wait until the next look."""
        if self.facts is None:
            return True
        if change.rule is not None:
            return change.rule.ours
        if change.link is not None:
            names = (change.link.name, *change.link.alternative_names)
            return self._uses(change.interface) or not self._names.isdisjoint(names)
        return self.drops(change) or any(map(self._holds_watched, change.prefixes))

    def is_touched_by(self, prefix: bytes) -> bool:
        """Report whether a foreign route to a prefix may change the facts."""
        return self.facts is None or self._uses_foreign or self._holds_watched(prefix)

    def drops(self, change: Change) -> bool:
        """Report whether the kernel may have dropped routes of ours with a change, without a notification for each."""
        if change.lossy:
            return self.facts is None or self._uses(change.interface)
        # With a source address its IPv4 routes go.
        return not self._asked.isdisjoint(prefix[:-1] for prefix in change.prefixes)

    def _uses(self, interface: int) -> bool:
        return bool(interface) and (interface in self._of_gateways or interface in self._of_routes)

    def _holds_watched(self, prefix: bytes) -> bool:
        """Report whether a prefix holds a gateway or a source."""
        addresses = self._sorted.get(len(prefix) - 1, [])
        place = bisect_left(addresses, prefix[:-1])
        return place < len(addresses) and addresses[place] <= last_address(prefix)

    def _take_interest(self, selected: Sequence[ResolvedRoute]) -> None:
        gateways = [each for route in selected for each in route.gateways]
        sources = {source for route in selected if (source := route.spec.options.source)}
        self._asked = frozenset({each.address for each in gateways} | sources)
        self._names = frozenset(each.interface for each in gateways if each.interface)
        self._sort()

    def _sort(self) -> None:
        watched = sorted(self._asked | self._passed)
        self._sorted = {size: [each for each in watched if len(each) == size] for size in (4, 16)}

    async def _look_at_foreign(self, selected: Sequence[ResolvedRoute], protected: Protection) -> ForeignRib:
        """Return the foreign routes if a destination touches a protected address: else they don't matter."""
        parts = [protected] if protected.claims is None else [protected, protected.claims]
        self._uses_foreign = any(
            route.spec.takes_default or any(part.meet(route.keys) for part in parts) for route in selected
        )
        if not self._uses_foreign:
            return ForeignRib()
        foreign, self.look_again = await self.foreign.read()
        return foreign
