"""The what-if about protected addresses beside the kernel's own longest-prefix match."""

import random

from static_route_operator.kernel.fib import Fib
from static_route_operator.planning.guards import refusals
from static_route_operator.routing.facts import Facts
from static_route_operator.routing.keys import prefix_of
from static_route_operator.routing.nexthops import NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix, unpack_prefix
from static_route_operator.routing.routes import Action, Operation
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import key, keys, pack, protection, route

# IPv4 and IPv6 prefixes that hold one another.
SPACES = {
    "10.0.0.1": ("0.0.0.0/0", "172.16.0.0/12", "172.20.0.0/16", "172.20.0.0/24", "172.20.0.0/30", "172.20.0.2/32"),
    "fd00::1": ("::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::/64", "2001:db8:1::/126", "2001:db8:1::2/128"),
}


def _next_hop(machine: Machine, address: str) -> str:
    (found,) = machine.query("route", "get", address)
    return f"{found.get('gateway', '')} {found.get('dev', '')} {found.get('type', '')}"


async def test_refused_is_what_the_kernel_would_route_elsewhere(machine: Machine) -> None:
    """Exactly those of random routes are refused with which the kernel sends a protected address another way."""
    machine.ip("route add default via 10.1.0.1")
    machine.ip("route add default via fd00:1::1", ipv6=True)
    fib = Fib()
    rng = random.Random(7)  # noqa: S311  the same routes each time
    checked = changed = 0
    for gateway, space in SPACES.items():
        for _ in range(30):
            others = rng.sample(space[1:], rng.randrange(4))
            machine.ip(*(f"route add {each} via {other}" for each in others for other in [_other(gateway, rng)]))
            protected = [rng.choice(space[2:]).split("/")[0] for _ in range(2)]
            # Only free keys: a route with the same key as another is a conflict, not a capture.
            free = [each for each in space[1:] if each not in others]
            foreign = await fib.read_foreign()
            packed = pack_address(gateway)
            path = NextHops.via(packed, fib.look_up([packed])[packed].interface)
            facts = Facts(protected=protection(dict.fromkeys(protected, "it")), foreign=foreign)
            refused = {prefix_of(one) for each in refusals(keys(*free), facts, [], path) for one in each.keys}
            for new in free:
                before = [_next_hop(machine, each) for each in protected]
                assert not await fib.apply([Operation(Action.ADD, path, pack([key(new)]))])
                differs = before != [_next_hop(machine, each) for each in protected]
                await fib.apply([Operation(Action.DELETE, path, pack([key(new)]))])
                assert (pack_prefix(new) in refused) == differs, (others, protected, unpack_prefix(pack_prefix(new)))
                checked += 1
                changed += differs
            machine.ip(*(f"route del {each}" for each in others))
    fib.close()
    assert checked > 150
    assert 30 < changed < checked - 30


def _other(gateway: str, rng: random.Random) -> str:
    return rng.choice([gateway, {"10.0.0.1": "10.1.0.1", "fd00::1": "fd00:1::1"}[gateway]])


async def test_routes_of_others_are_not_read_for_nothing(machine: Machine, engine: Engine) -> None:
    """While no destination has to do with what is protected, nobody reads the routes of others."""
    engine.protected = lambda: protection({"172.20.0.5": "API server"})
    await engine.settle(route())
    engine.reconciler._observation.foreign._fib = None  # type: ignore[assignment]
    machine.ip(*(f"route add 198.18.0.{last} via 10.0.0.9 proto bird" for last in range(50)))
    await engine.rest()
    await engine.settle(route(destinations=["192.0.2.2"], generation=2))

    assert engine.count("reconcile_errors_total") == 0
