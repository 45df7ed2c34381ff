"""Which changes of the node a run waits for no longer, and which it looks at later."""

from collections.abc import Iterable, Sequence

import pytest

from static_route_operator.kernel.network import Change
from static_route_operator.node.observation import Observation
from static_route_operator.routing.facts import Link, Network
from static_route_operator.routing.foreign import ForeignRib, Lookup
from static_route_operator.routing.nexthops import PROTOCOL, NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Routes
from static_route_operator.routing.rules import Rule
from tests.unit.builders import ETH0, keys, network, protection, resolved

ETH1, IPVS, OLD = 3, 4, 9


class _Kernel:
    """A stand-in for `Fib` and `NetworkState`: 10.0.0.1 is on eth0; eth1 and ipvs0 lead to nothing in use."""

    incomplete = False
    rules: Sequence[Rule] = ()
    network: Network = network(
        {"10.0.0.2": "eth0", "10.1.0.2": "eth1", "172.20.0.1": "ipvs0"},
        {"10.0.0.0/24": "eth0", "10.1.0.0/24": "eth1"},
    )

    async def ready(self) -> None:
        """Have read everything."""

    def look_up(self, asked: Iterable[bytes], _: object = None) -> dict[bytes, Lookup]:
        """Return the route to the gateway."""
        assert pack_address("10.0.0.1") in set(asked)
        return {pack_address("10.0.0.1"): Lookup(24, ETH0, on_link=True, local=False, ours=False)}

    async def read_foreign(self) -> ForeignRib:
        """Return no routes."""
        return ForeignRib()


async def _observation(protected: Protection | None = None) -> Observation:
    kernel = _Kernel()
    observation = Observation(kernel, kernel, lambda: protected or Protection())  # type: ignore[arg-type]
    route = resolved(source="10.1.0.2")
    named = resolved("named", None, gateways=[{"address": "10.7.0.1", "interface": "lte"}])
    await observation.look([route, named], 1)
    observation.follow(Routes({NextHops.via(pack_address("10.9.0.1"), OLD): keys("192.0.2.9")}))
    return observation


def _address(interface: int, *prefixes: str, lossy: bool = False) -> Change:
    return Change(interface, prefixes=tuple(map(pack_prefix, prefixes)), lossy=lossy)


@pytest.mark.parametrize(
    ("change", "concerns", "drops"),
    [
        # The link of the gateway, and that of a route that is still installed.
        (Change(ETH0, link=Link(ETH0, "eth0", up=False), lossy=True), True, True),
        (Change(ETH0, link=Link(ETH0, "eth0")), True, False),
        (Change(OLD, link=Link(OLD, "old0", up=False), lossy=True), True, True),
        # The interface that an object names, when it comes.
        (Change(77, link=Link(77, "wwan0", ("lte",))), True, False),
        # The subnet of the gateway comes or goes; the gateway's address is this node's own.
        (_address(IPVS, "10.0.0.7/32", "10.0.0.0/24"), True, False),
        (_address(IPVS, "10.0.0.1/32"), True, True),
        (_address(ETH0, "10.0.0.2/32", "10.0.0.0/24", lossy=True), True, True),
        # The source of a route.
        (_address(ETH1, "10.1.0.2/32"), True, True),
        (Change(rule=Rule(priority=1, table=245, protocol=PROTOCOL)), True, False),
        # Of services, pods and other programs.
        (_address(IPVS, "172.20.0.9/32"), False, False),
        (_address(ETH0, "10.0.0.9/32"), False, False),
        (_address(IPVS, "172.20.0.9/32", lossy=True), False, False),
        (Change(77, link=Link(77, "pod0", up=False), lossy=True), False, False),
        (Change(rule=Rule(priority=1, table=99)), False, False),
        (Change(lossy=True), False, False),
    ],
)
async def test_change_that_may_move_a_route_is_acted_on_at_once(change: Change, concerns: bool, drops: bool) -> None:
    """Everything that concerns gateways, sources and routes in use wakes the loop; the rest waits for the next look."""
    observation = await _observation()

    assert (observation.concerns(change), observation.drops(change)) == (concerns, drops)


@pytest.mark.parametrize(("prefix", "touches"), [("10.0.0.0/8", True), ("10.0.0.1/32", True), ("172.20.0.9/32", False)])
async def test_foreign_route_matters_if_it_holds_a_gateway(prefix: str, touches: bool) -> None:
    """Of the routes of other programs, those count that a gateway may be reached by."""
    assert (await _observation()).is_touched_by(pack_prefix(prefix)) is touches


async def test_any_foreign_route_may_lead_to_a_protected_address() -> None:
    """With a destination that holds a protected address, every route of another program may count."""
    observation = await _observation(protection({"192.0.2.1": "API server"}))

    assert observation.is_touched_by(pack_prefix("172.20.0.9/32"))


async def test_before_the_first_look_everything_matters() -> None:
    """Nothing is known of what is in use."""
    kernel = _Kernel()
    observation = Observation(kernel, kernel, Protection)  # type: ignore[arg-type]

    assert observation.concerns(Change(77, link=Link(77, "pod0")))
    assert observation.is_touched_by(pack_prefix("172.20.0.9/32"))
