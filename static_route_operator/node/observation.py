"""The facts about this node that a plan needs, looked at only when they may have changed."""

import dataclasses
from collections.abc import Callable, Sequence

from static_route_operator.api.resolution import ResolvedRoute
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.foreigncache import ForeignRouteCache
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.foreign import ForeignRib
from static_route_operator.routing.keys import TABLE_MAIN
from static_route_operator.routing.protection import Protection


class Observation:
    """The last look at the node.

    Args:
        fib: the kernel's tables.
        protected: returns the addresses that no route may capture.

    Attributes:
        foreign: the routes of other programs.
        facts: the facts of the last look; None before the first.
        outdated: whether the facts may have changed since.
        look_again: seconds after which to look again, since foreign routes have changed; 0 when they have not.
    """

    def __init__(self, fib: Fib, protected: Callable[[], Protection]) -> None:
        self._fib = fib
        self._protected = protected
        self._version: object = None
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
            KernelError: the kernel can't be asked.
        """
        protected = self._protected()
        self.look_again = 0.0
        known = self.facts
        if known and not self.outdated and (self._version, known.protected) == (version, protected):
            return known
        self.outdated = False
        asked = {each.address for route in selected for each in route.gateways}
        asked |= {source for route in selected if (source := route.spec.options.source)}
        rules = any(route.spec.options.table != TABLE_MAIN for route in selected)
        facts = await self._fib.look(asked, rules=rules)
        foreign = await self._look_at_foreign(selected, protected)
        # A look-up that ends at a route of ours tells nothing about the gateway: use the route that ours hides.
        lookups = {
            each: (foreign.look_up(each) if lookup.ours else None) or lookup for each, lookup in facts.lookups.items()
        }
        self.facts = dataclasses.replace(facts, protected=protected, foreign=foreign, lookups=lookups)
        self._version = version
        return self.facts

    async def _look_at_foreign(self, selected: Sequence[ResolvedRoute], protected: Protection) -> ForeignRib:
        """Return the foreign routes if a destination touches a protected address: else they don't matter."""
        parts = [protected] if protected.claims is None else [protected, protected.claims]
        if not any(route.spec.takes_default or any(part.meet(route.keys) for part in parts) for route in selected):
            return ForeignRib()
        foreign, self.look_again = await self.foreign.read()
        return foreign
