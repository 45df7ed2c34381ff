"""Routes read from the kernel and written to it, held against what `ip` says."""

import errno
import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from static_route_operator.errors import KernelError
from static_route_operator.kernel.fib import Fib
from static_route_operator.kernel.netlink import SO_RCVBUFFORCE
from static_route_operator.kernel.network import read_network
from static_route_operator.routing.description import holder_words
from static_route_operator.routing.facts import Facts, Subnet
from static_route_operator.routing.foreign import Lookup
from static_route_operator.routing.kernelroute import KernelRoute
from static_route_operator.routing.nexthops import BLACKHOLE_IPV4, BLACKHOLE_IPV6, THROW_IPV4, THROW_IPV6, NextHops
from static_route_operator.routing.prefixes import pack_address, pack_prefix
from static_route_operator.routing.routes import Action, Failure, Operation, Routes
from tests.kernel.machine import Machine
from tests.unit.builders import key, make_key, pack, paths, unknown_path

MANY = 20_000

FAMILIES = pytest.mark.parametrize(
    ("destination", "gateway", "other"),
    [("192.0.2.1/32", "10.0.0.1", "10.0.0.3"), ("2001:db8::1/128", "fd00::1", "fd00::3")],
    ids=["IPv4", "IPv6"],
)


def _words(holders: Mapping[bytes, KernelRoute]) -> dict[bytes, str]:
    return {key: holder_words(route, {}) for key, route in holders.items()}


def _path(machine: Machine, gateway: str, interface: str = "eth0") -> NextHops:
    return NextHops.via(pack_address(gateway), machine.interface(interface))


def _many(count: int = MANY, *, ipv6: bool = False) -> list[bytes]:
    if ipv6:
        start = int(ipaddress.IPv6Address("2001:db8::"))
        return sorted(key(str(ipaddress.IPv6Address(start + each))) for each in range(count))
    start = int(ipaddress.IPv4Address("198.18.0.0"))
    return sorted(key(str(ipaddress.IPv4Address(start + each))) for each in range(count))


async def test_fresh_machine_has_no_routes_of_ours(machine: Machine, fib: Fib) -> None:
    """Connected routes and those of others are not ours."""
    machine.ip("route add 192.0.2.1 via 10.0.0.1 proto static", "route add default via 10.0.0.1")

    assert not await fib.read()


@FAMILIES
async def test_route_is_added_replaced_and_deleted(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """Each action does in the kernel what it says, and reading tells the same as `ip`."""
    one, path, second = key(destination), _path(machine, gateway), _path(machine, other)

    assert await fib.apply([Operation(Action.ADD, path, pack([one]))]) == {}
    assert machine.routes() == {destination: f"{gateway} eth0"}
    assert paths(await fib.read()) == {one: path}

    assert await fib.apply([Operation(Action.REPLACE, second, pack([one]))]) == {}
    assert machine.routes() == {destination: f"{other} eth0"}
    assert paths(await fib.read()) == {one: second}

    assert await fib.apply([Operation(Action.DELETE, second, pack([one]))]) == {}
    assert machine.routes() == {}
    assert not await fib.read()


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
async def test_many_routes_are_written_and_read(machine: Machine, fib: Fib, ipv6: bool) -> None:
    """20,000 routes are added, replaced and deleted, and the kernel has each of them, through the right gateway."""
    keys = _many(ipv6=ipv6)
    first = _path(machine, "fd00::1" if ipv6 else "10.0.0.1")
    second = _path(machine, "fd00:1::1" if ipv6 else "10.1.0.1", "eth1")

    assert await fib.apply([Operation(Action.ADD, first, pack(keys))]) == {}
    assert paths(await fib.read()) == dict.fromkeys(keys, first)
    assert len(machine.routes()) == MANY

    assert await fib.apply([Operation(Action.REPLACE, second, pack(keys[::2]))]) == {}
    assert paths(await fib.read()) == dict.fromkeys(keys, first) | dict.fromkeys(keys[::2], second)

    assert (
        await fib.apply(
            [Operation(Action.DELETE, second, pack(keys[::2])), Operation(Action.DELETE, first, pack(keys[1::2]))]
        )
        == {}
    )
    assert not await fib.read()
    assert machine.routes() == {}


@FAMILIES
async def test_foreign_route_is_left_alone_and_told(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """If another program's route holds the key, adding fails with EEXIST, and that route stays as it is."""
    machine.ip(f"route add {destination} via {other} proto static")

    failures = await fib.apply([Operation(Action.ADD, _path(machine, gateway), pack([key(destination)]))])

    assert failures == {key(destination): Failure(errno.EEXIST, "File exists")}
    assert machine.routes("static") == {destination: f"{other} eth0"}
    assert machine.routes() == {}
    assert _words(await fib.holders([key(destination)])) == {key(destination): f"via {other} proto static"}


@FAMILIES
async def test_foreign_route_with_another_metric_is_no_conflict(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """Routes of one destination that differ in their metric stand beside each other."""
    machine.ip(f"route add {destination} via {other} proto static metric 4000")

    assert await fib.apply([Operation(Action.ADD, _path(machine, gateway), pack([key(destination)]))]) == {}
    assert machine.routes() == {destination: f"{gateway} eth0"}
    assert machine.routes("static") == {destination: f"{other} eth0 metric 4000"}


@FAMILIES
async def test_deleting_never_takes_a_foreign_route(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A deletion takes only what carries our protocol, even where a foreign route is equal in all else."""
    machine.ip(f"route add {destination} via {gateway} proto static")

    for path in (_path(machine, gateway), unknown_path(key(destination))):
        assert await fib.apply([Operation(Action.DELETE, path, pack([key(destination)]))]) == {}
    assert machine.routes("static") == {destination: f"{gateway} eth0"}


@FAMILIES
async def test_deleting_picks_ours_beside_a_foreign_one(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """The deletion takes our route of two to one destination, no matter whose metric is better."""
    machine.ip(f"route add {destination} via {other} proto static metric 5")
    await fib.apply([Operation(Action.ADD, _path(machine, gateway), pack([key(destination)]))])

    assert await fib.apply([Operation(Action.DELETE, _path(machine, gateway), pack([key(destination)]))]) == {}
    assert machine.routes() == {}
    assert machine.routes("static") == {destination: f"{other} eth0 metric 5"}


@FAMILIES
async def test_replacing_keeps_metric_and_table(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A route in a table of its own with a metric of its own keeps both, and no other appears."""
    one = make_key(destination, 70_000, 50)
    await fib.apply([Operation(Action.ADD, _path(machine, gateway), pack([one]))])
    await fib.apply([Operation(Action.REPLACE, _path(machine, other), pack([one]))])

    assert machine.routes(table="70000") == {destination: f"{other} eth0 metric 50"}
    assert machine.routes() == {}
    assert paths(await fib.read()) == {one: _path(machine, other)}


@FAMILIES
async def test_replacing_what_is_gone_is_told(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A REPLACE of a route that is gone does not create the route without the planner's knowledge."""
    failures = await fib.apply([Operation(Action.REPLACE, _path(machine, gateway), pack([key(destination)]))])

    assert failures[key(destination)].errno == errno.ENOENT
    assert machine.routes() == {}


@FAMILIES
async def test_deleting_what_is_gone_is_done(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A route that is gone already is what a deletion is for."""
    assert await fib.apply([Operation(Action.DELETE, _path(machine, gateway), pack([key(destination)]))]) == {}


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
async def test_each_failure_is_the_right_routes(machine: Machine, fib: Fib, ipv6: bool) -> None:
    """Exactly the routes that the kernel refused, among thousands, are reported; all others are installed."""
    keys = _many(ipv6=ipv6)
    path = _path(machine, "fd00::1" if ipv6 else "10.0.0.1")
    start = ipaddress.ip_address("2001:db8::" if ipv6 else "198.18.0.0")
    bad = [0, 1, 499, 500, 512, 1023, 1024, 7777, 13_333, MANY - 2, MANY - 1]
    machine.ip(*(f"route add {start + each} via {'fd00::3' if ipv6 else '10.0.0.3'} proto static" for each in bad))

    failures = await fib.apply([Operation(Action.ADD, path, pack(keys))])

    assert failures == {keys[each]: Failure(errno.EEXIST, "File exists") for each in bad}
    assert paths(await fib.read()) == {one: path for index, one in enumerate(keys) if index not in bad}


async def test_all_of_many_failures_are_told(machine: Machine, fib: Fib) -> None:
    """If the kernel refuses all of 20,000 routes, each refusal is reported in the kernel's own words."""
    keys = _many()

    failures = await fib.apply(
        [Operation(Action.ADD, NextHops.via(pack_address("172.31.0.1"), machine.interface("eth0")), pack(keys))]
    )

    assert failures == dict.fromkeys(keys, Failure(errno.ENETUNREACH, "Nexthop has invalid gateway"))


async def test_failed_operation_does_not_stop_the_next(machine: Machine, fib: Fib) -> None:
    """Operations do not depend on each other's success, and their failures are not mixed up."""
    bad, good = [key("192.0.2.1"), key("192.0.2.2")], [key("2001:db8::1"), key("2001:db8::2")]
    path6 = _path(machine, "fd00::1")

    failures = await fib.apply(
        [
            Operation(Action.ADD, NextHops.via(pack_address("172.31.0.1"), machine.interface("eth0")), pack(bad)),
            Operation(Action.ADD, path6, pack(good)),
            Operation(Action.ADD, path6, pack(good[:1])),
        ]
    )

    assert {one: failure.errno for one, failure in failures.items()} == {
        bad[0]: errno.ENETUNREACH,
        bad[1]: errno.ENETUNREACH,
        good[0]: errno.EEXIST,
    }
    assert paths(await fib.read()) == dict.fromkeys(good, path6)


async def test_own_routes_of_every_table_are_read(machine: Machine, fib: Fib) -> None:
    """Nothing of ours is overlooked, whichever table and metric it has, the default route included."""
    machine.ip(
        "route add 192.0.2.0/24 via 10.0.0.1 proto 245 table 100",
        "route add 192.0.2.0/24 via 10.1.0.1 proto 245 table 4000000000 metric 7",
        "route add default via 10.0.0.1 proto 245",
        "route add 2001:db8::/32 via fd00::1 proto 245 table 100 metric 7",
        "route add 2001:db8::/32 via fd00::3 proto 245",
    )

    assert paths(await fib.read()) == {
        make_key("192.0.2.0/24", 100, 0): _path(machine, "10.0.0.1"),
        make_key("192.0.2.0/24", 4_000_000_000, 7): _path(machine, "10.1.0.1", "eth1"),
        make_key("0.0.0.0/0", 254, 0): _path(machine, "10.0.0.1"),
        make_key("2001:db8::/32", 100, 7): _path(machine, "fd00::1"),
        make_key("2001:db8::/32", 254, 1024): _path(machine, "fd00::3"),
    }


@pytest.mark.parametrize("destination", ["192.0.2.1/32", "2001:db8::1/128"])
async def test_route_to_neighbours_is_written_and_read(machine: Machine, fib: Fib, destination: str) -> None:
    """A route without a gateway, such as the copy of one, is written, read back as it is, and replaced."""
    size = 4 if "." in destination else 16
    direct = NextHops.via(bytes(size), machine.interface("eth0"))
    plain = _path(machine, "10.0.0.1" if size == 4 else "fd00::1")

    assert await fib.apply([Operation(Action.ADD, direct, pack([key(destination)]))]) == {}
    assert machine.routes() == {destination: "eth0"}
    assert paths(await fib.read()) == {key(destination): direct}
    assert await fib.apply([Operation(Action.REPLACE, plain, pack([key(destination)]))]) == {}
    assert paths(await fib.read()) == {key(destination): plain}


ODD = pytest.mark.parametrize(
    ("destination", "odd", "gateway"),
    [
        ("192.0.2.1/32", "unreachable {} proto 245", "10.0.0.1"),
        ("192.0.2.1/32", "{} proto 245 nexthop via 10.0.0.1 nexthop via inet6 fd00::1 dev eth0", "10.0.0.1"),
        ("192.0.2.1/32", "{} via inet6 fd00::1 dev eth0 proto 245", "10.0.0.1"),
        ("2001:db8::1/128", "unreachable {} proto 245", "fd00::1"),
        ("192.0.2.1/32", "{} proto 245 nhid 7", "10.0.0.1"),
        ("2001:db8::1/128", "{} proto 245 nhid 8", "fd00::1"),
        ("192.0.2.1/32", "{} via 10.0.0.1 proto 245 hoplimit 9", "10.0.0.1"),
        ("2001:db8::1/128", "{} via fd00::1 proto 245 hoplimit 9", "fd00::1"),
    ],
)

# The nexthop objects that `nhid` in an odd route stands for.
OBJECTS = ("nexthop add id 7 via 10.0.0.1 dev eth0", "nexthop add id 8 via fd00::1 dev eth0")


@ODD
async def test_odd_route_of_ours_is_replaced(
    machine: Machine, fib: Fib, destination: str, odd: str, gateway: str
) -> None:
    """A route with our protocol of a shape that is never written is read as unknown and replaced by a plain one."""
    machine.ip(*OBJECTS, "route add " + odd.format(destination))
    assert paths(await fib.read()) == {key(destination): unknown_path(key(destination))}

    assert await fib.apply([Operation(Action.REPLACE, _path(machine, gateway), pack([key(destination)]))]) == {}
    assert machine.routes() == {destination: f"{gateway} eth0"}
    assert paths(await fib.read()) == {key(destination): _path(machine, gateway)}


@ODD
async def test_odd_route_of_ours_is_deleted(
    machine: Machine, fib: Fib, destination: str, odd: str, gateway: str
) -> None:
    """A route with our protocol of a shape that is never written goes like any other."""
    machine.ip(*OBJECTS, "route add " + odd.format(destination))

    assert await fib.apply([Operation(Action.DELETE, unknown_path(key(destination)), pack([key(destination)]))]) == {}
    assert machine.routes() == {}


async def test_next_hops_merged_into_ours_outlive_them(machine: Machine, fib: Fib) -> None:
    """The kernel makes one IPv6 route of ours and of another program's; ours goes without the other's next hop."""
    one, path = key("2001:db8::1"), _path(machine, "fd00::1")
    await fib.apply([Operation(Action.ADD, path, pack([one]))])
    machine.ip("route append 2001:db8::1 via fd00:1::9 proto static")

    merged = NextHops((*path.hops, *_path(machine, "fd00:1::9", "eth1").hops))
    assert paths(await fib.read()) == {one: merged}

    assert await fib.apply([Operation(Action.DELETE, merged, pack([one]))]) == {}
    assert paths(await fib.read()) == {}
    assert machine.routes("static") == {"2001:db8::1/128": "fd00:1::9 eth1"}


NOWHERE = pytest.mark.parametrize(
    ("destination", "nowhere", "gateways"),
    [
        ("192.0.2.1", BLACKHOLE_IPV4, ("10.0.0.1", "10.1.0.1")),
        ("2001:db8::1", BLACKHOLE_IPV6, ("fd00::1", "fd00:1::1")),
        ("192.0.2.1", THROW_IPV4, ("10.0.0.1", "10.1.0.1")),
        ("2001:db8::1", THROW_IPV6, ("fd00::1", "fd00:1::1")),
    ],
    ids=["IPv4 blackhole", "IPv6 blackhole", "IPv4 throw", "IPv6 throw"],
)


@NOWHERE
async def test_paths_of_every_kind_replace_each_other(
    machine: Machine, fib: Fib, destination: str, nowhere: NextHops, gateways: tuple[str, str]
) -> None:
    """One next hop, several with weights, and none: each is read as it was written, replaces the others, and goes."""
    keys = pack([key(destination), key(destination.replace("db8", "db9").replace("192", "193"))])
    one, other = (_path(machine, gateway, f"eth{index}") for index, gateway in enumerate(gateways))
    even, uneven = (NextHops(tuple(sorted((one.hops[0]._replace(weight=weight), *other.hops)))) for weight in (1, 256))
    kinds = [one, even, nowhere, uneven, other, even, uneven, one, nowhere]

    await fib.apply([Operation(Action.ADD, kinds[0], keys)])
    for path in kinds[1:]:
        assert await fib.apply([Operation(Action.REPLACE, path, keys)]) == {}
        assert await fib.read() == Routes({path: keys})
    for path in kinds:
        assert await fib.apply([Operation(Action.DELETE, kinds[-1], keys)]) == {}
        assert machine.routes() == {}
        assert await fib.apply([Operation(Action.ADD, path, keys)]) == {}
        kinds[-1] = path
        assert await fib.read() == Routes({path: keys})


async def test_lost_answers_are_noticed_and_survived(machine: Machine, fib: Fib) -> None:
    """Dropped answers leave the failures unknown: that is an error, after which everything works again."""
    keys = _many()
    path = _path(machine, "10.0.0.1")
    fib._socket._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4096)
    await fib.apply([Operation(Action.ADD, path, pack(keys[:1000]))])

    with pytest.raises(KernelError, match="dropped answers"):
        await fib.apply([Operation(Action.ADD, path, pack(keys[:1000]))])

    fib.reopen()
    assert paths(await fib.read()) == dict.fromkeys(keys[:1000], path)
    assert await fib.apply([Operation(Action.ADD, path, pack(keys))]) == dict.fromkeys(
        keys[:1000], Failure(errno.EEXIST, "File exists")
    )


async def test_facts_are_what_the_machine_is(machine: Machine, fib: Fib) -> None:
    """The facts have addresses, subnets and interfaces, and the kernel's look-up of an address."""
    machine.ip(
        "route add default via 10.0.0.1 proto static",
        "route add 172.16.0.0/12 via 10.1.0.1 proto 245",
        "route add 172.31.0.0/16 dev eth1",
        "route add 172.30.0.0/16 dev eth1 scope global",
        "route add unreachable 203.0.113.0/24",
        "route add blackhole 2001:db8:b::/48",
        "route add prohibit 198.51.100.0/24",
    )
    eth0, eth1 = machine.interface("eth0"), machine.interface("eth1")
    refused = {"203.0.113.1": "unreachable", "2001:db8:b::1": "blackhole", "198.51.100.1": "prohibit"}

    reachable = ["10.0.0.1", "fd00:1::1", "10.0.0.2", "10.0.0.255", "8.8.8.8", "172.16.0.1", "172.31.0.1", "172.30.0.1"]
    facts = Facts(await read_network(), fib.look_up(map(pack_address, [*reachable, *refused, "2001:db8::1"])))

    assert facts.interfaces[eth0] == "eth0"
    assert facts.addresses.items() >= {pack_address("10.0.0.2"): "eth0", pack_address("fd00:1::2"): "eth1"}.items()
    assert set(facts.subnets) >= {
        Subnet(pack_prefix("10.0.0.0/24"), "eth0"),
        Subnet(pack_prefix("fd00:1::/64"), "eth1"),
    }
    direct: dict[str, Any] = {"on_link": True, "local": False}
    routed: dict[str, Any] = {"on_link": False, "local": False}
    assert {address: facts.lookups[pack_address(address)] for address in ("10.0.0.1", "fd00:1::1", "172.31.0.1")} == {
        "10.0.0.1": Lookup(24, eth0, ours=False, protocol=2, **direct),
        "fd00:1::1": Lookup(64, eth1, ours=False, protocol=2, **direct),
        "172.31.0.1": Lookup(16, eth1, ours=False, protocol=3, **direct),
    }
    by, other = pack_address("10.0.0.1"), pack_address("10.1.0.1")
    assert facts.lookups[pack_address("8.8.8.8")] == Lookup(0, eth0, ours=False, gateway=by, protocol=4, **routed)
    assert facts.lookups[pack_address("172.16.0.1")] == Lookup(
        12, eth1, ours=True, gateway=other, protocol=245, **routed
    )
    # IPv4 refuses next hops that a route of global scope leads to.
    assert facts.lookups[pack_address("172.30.0.1")] == Lookup(16, eth1, ours=False, protocol=3, **routed)
    for local in ("10.0.0.2", "10.0.0.255"):
        assert facts.lookups[pack_address(local)].local
        assert not facts.lookups[pack_address(local)].on_link
    for text, kind in refused.items():
        assert facts.lookups[pack_address(text)] == Lookup(0, 0, ours=False, kind=kind, **routed)
    assert facts.lookups.keys() == set(map(pack_address, [*reachable, *refused]))


async def test_gateway_behind_a_link_that_is_down_is_not_on_link(machine: Machine, fib: Fib) -> None:
    """A subnet that is still configured on a link that is down does not make its gateways reachable."""
    machine.ip("link set eth0 down")
    gateways = [pack_address("10.0.0.1"), pack_address("10.1.0.1")]

    facts = Facts(await read_network(), fib.look_up(gateways))

    assert list(facts.lookups) == gateways[1:]
    assert Subnet(pack_prefix("10.0.0.0/24"), "eth0") in facts.subnets


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        ("192.0.2.0/24 via 10.0.0.3 proto boot", "via 10.0.0.3 proto boot"),
        ("192.0.2.0/24 dev eth0 proto 186", "proto 186"),
        ("192.0.2.0/24 via inet6 fd00::3 dev eth0 proto static", "via fd00::3 proto static"),
        ("blackhole 192.0.2.0/24 proto bird", "blackhole proto bird"),
        (
            "192.0.2.0/24 proto static nexthop via 10.0.0.3 nexthop via 10.1.0.3 weight 2",
            "via 10.0.0.3 via 10.1.0.3 proto static",
        ),
        ("192.0.0.0/16 via 10.0.0.3", None),
        ("192.0.2.0/24 via 10.0.0.3 metric 5", None),
        ("192.0.2.0/24 via 10.0.0.3 table 100", None),
    ],
)
async def test_holder_is_told_in_the_words_of_ip(machine: Machine, fib: Fib, foreign: str, words: str | None) -> None:
    """The holder of a key is reported by type, gateways and protocol; holders of other keys are not."""
    machine.ip(f"route add {foreign}")

    assert _words(await fib.holders([key("192.0.2.0/24")])) == ({key("192.0.2.0/24"): words} if words else {})


@FAMILIES
async def test_holder_of_a_place_that_is_not_used_is_told(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A place in another table, or of a higher metric than another route, has a holder too."""
    machine.ip(
        f"route add {destination} via {gateway} proto static metric 5",
        f"route add {destination} via {other} proto bird metric 6",
        f"route add {destination} via {other} proto boot metric 7 table 70000",
    )
    used, beneath, elsewhere = (make_key(destination, *place) for place in ((254, 5), (254, 6), (70_000, 7)))

    assert _words(await fib.holders([used, beneath, elsewhere])) == {
        used: f"via {gateway} proto static",
        beneath: f"via {other} proto bird",
        elsewhere: f"via {other} proto boot",
    }


@FAMILIES
async def test_holder_by_a_nexthop_object_is_told(
    machine: Machine, fib: Fib, destination: str, gateway: str, other: str
) -> None:
    """A route that uses a nexthop object is described with the number of the object."""
    machine.ip(f"nexthop add id 7 via {other} dev eth0", f"route add {destination} nhid 7 proto static")

    assert _words(await fib.holders([key(destination)])) == {key(destination): f"nhid 7 via {other} proto static"}
