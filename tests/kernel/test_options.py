"""Options of a StaticRoute's routes on a real kernel, for IPv4 and IPv6."""

from typing import Any, NamedTuple

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.routing.options import METRIC_OPTIONS, MetricOption
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import protection, route


class Family(NamedTuple):
    """The addresses of one family in a test."""

    destination: str
    gateway: str
    other: str
    source: str
    elsewhere: str
    default: str


IPV4 = Family("192.0.2.0/24", "10.0.0.1", "10.0.0.3", "10.5.0.7", "10.9.9.9", "0.0.0.0/0")
IPV6 = Family("2001:db8::/32", "fd00::1", "fd00::3", "fd05::7", "fd09::9", "::/0")
METRICS = pytest.mark.parametrize("option", METRIC_OPTIONS, ids=lambda option: option.field)
FAMILIES = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])


def _prepare(machine: Machine, family: Family) -> None:
    """A second address, and a default route."""
    machine.ip(f"address add {family.source} dev lo", f"route add default via {family.other} proto static metric 4000")


def _object(family: Family, gateway: str = "", generation: int = 1, **options: Any) -> StaticRoute:
    return route("nat", gateway or family.gateway, [family.destination], generation=generation, **options)


class Case(NamedTuple):
    """Options, the words of `ip` for them beside the gateway, and the table; … stands for the source of the family."""

    options: dict[str, Any]
    words: str = ""
    table: str = "254"

    def of(self, family: Family) -> "Case":
        """With the source of this family in its place."""
        options = {name: family.source if value == "…" else value for name, value in self.options.items()}
        return Case(options, self.words.replace("…", family.source), self.table)


# All metrics at once, in the kernel's order.
ALL_METRICS = " ".join(
    f"{option.word} {option.minimum_ipv6}" for option in sorted(METRIC_OPTIONS, key=lambda option: option.number)
)

# Each option alone, and all together.
CASES = pytest.mark.parametrize(
    "case",
    [
        Case({}),
        Case({"metric": 7}, " metric 7"),
        Case({"metric": 4_294_967_295}, " metric 4294967295"),
        Case({"metric": 0}),
        Case({"table": 100}, table="100"),
        Case({"table": 253}, table="253"),
        Case({"table": 4_294_967_295}, table="4294967295"),
        *(
            Case({option.field: value}, f" {option.word} {value}")
            for option in METRIC_OPTIONS
            for value in (option.minimum_ipv6, option.maximum)
        ),
        Case({"source": "…"}, " src …"),
        Case({"onLink": True}, " onlink"),
        Case(
            {"metric": 7, "table": 70_000, "source": "…", "onLink": True}
            | {option.field: option.minimum_ipv6 for option in METRIC_OPTIONS},
            f" metric 7 src … {ALL_METRICS} onlink",
            "70000",
        ),
    ],
    ids=lambda case: " ".join(f"{name} {value}" for name, value in case.options.items()) or "none",
)


@FAMILIES
@CASES
async def test_option_is_in_the_kernel_and_at_rest(
    machine: Machine, engine: Engine, family: Family, case: Case
) -> None:
    """Each option is in the kernel as `ip route` shows it; reading it back differs in nothing, so nothing is rewritten.

    The gateway can be changed in place, and the route goes with its object.
    """
    _prepare(machine, family)
    options, words, table = case.of(family)
    await engine.settle(_object(family, **options))
    assert machine.routes(table=table) == {family.destination: f"{family.gateway} eth0{words}"}

    before = engine.operations()
    engine.reconciler._read_again()
    await engine.rest()
    assert engine.operations() == before == {"add": 1, "replace": 0, "delete": 0}
    (described,) = engine.questions.routes()["routes"]
    assert described["object"] == "nat"

    await engine.settle(_object(family, family.other, 2, **options))
    assert machine.routes(table=table) == {family.destination: f"{family.other} eth0{words}"}
    assert engine.operations() == {"add": 1, "replace": 1, "delete": 0}

    engine.remove("nat")
    await engine.until(lambda: not machine.routes(table=table), "the route is gone")


@FAMILIES
@CASES
async def test_option_is_changed_without_a_gap(machine: Machine, engine: Engine, family: Family, case: Case) -> None:
    """A change in place is one REPLACE; to change its key, a route is added before the old one is deleted."""
    _prepare(machine, family)
    options, words, table = case.of(family)
    moves = table != "254" or "metric" in words
    await engine.settle(_object(family))

    for generation, (spec, shown, where) in enumerate([(options, words, table), ({}, "", "254")], 2):
        before = engine.operations()
        await engine.settle(_object(family, generation=generation, **spec))
        assert machine.routes(table=where) == {family.destination: f"{family.gateway} eth0{shown}"}
        after = engine.operations()
        change = {action: after[action] - before[action] for action in after}
        assert change == (
            {"add": 1, "replace": 0, "delete": 1} if moves else {"add": 0, "replace": int(bool(words)), "delete": 0}
        )
        assert len([*machine.routes(), *(machine.routes(table=table) if table != "254" else ())]) == 1


@FAMILIES
@METRICS
async def test_drift_of_an_option_is_repaired(
    machine: Machine, engine: Engine, family: Family, option: MetricOption
) -> None:
    """Another source, or another value of a metric, that somebody gives a route of ours is put right."""
    _prepare(machine, family)
    value = option.minimum_ipv6
    metrics: dict[str, Any] = {option.field: value}
    await engine.settle(_object(family, source=family.source, table=100, **metrics))
    machine.ip(f"route replace {family.destination} via {family.gateway} {option.word} {value + 1} proto 245 table 100")

    expected = {family.destination: f"{family.gateway} eth0 src {family.source} {option.word} {value}"}
    await engine.until(lambda: machine.routes(table="100") == expected, "it is as desired")


@FAMILIES
@METRICS
async def test_metric_changes_in_one_replace(
    machine: Machine, engine: Engine, family: Family, option: MetricOption
) -> None:
    """A metric is set, changed and removed in place, by one REPLACE each."""
    _prepare(machine, family)
    await engine.settle(_object(family))

    for replaced, value in enumerate((option.minimum_ipv6, option.maximum, None), 1):
        metrics: dict[str, Any] = {option.field: value}
        await engine.settle(_object(family, generation=replaced + 1, **metrics))
        words = f" {option.word} {value}" if value else ""
        assert machine.routes() == {family.destination: f"{family.gateway} eth0{words}"}
        assert engine.operations() == {"add": 1, "replace": replaced, "delete": 0}


@FAMILIES
async def test_metric_that_is_no_option_is_removed(machine: Machine, engine: Engine, family: Family) -> None:
    """A metric that this program never sets makes a route of ours differ, so the route is replaced."""
    _prepare(machine, family)
    await engine.settle(_object(family, table=100))
    machine.ip(f"route replace {family.destination} via {family.gateway} hoplimit 9 proto 245 table 100")

    expected = {family.destination: f"{family.gateway} eth0"}
    await engine.until(lambda: machine.routes(table="100") == expected, "it is as desired")


@FAMILIES
async def test_source_that_goes_and_comes(machine: Machine, engine: Engine, family: Family) -> None:
    """Without its source a route fails in plain words; it is whole again when the address comes back."""
    _prepare(machine, family)
    await engine.settle(_object(family, source=family.source))
    machine.ip(f"address del {family.source} dev lo")

    row = await engine.state_is("nat", "Failed")
    assert row.reason == Reason.SOURCE_NOT_ON_NODE
    assert row.message.startswith(f"source {family.source} is not an address of this node")
    # The kernel takes an IPv4 route along with its source; of an IPv6 one it takes the source only.
    left = {} if family is IPV4 else {family.destination: f"{family.gateway} eth0"}
    assert machine.routes() == left

    machine.ip(f"address add {family.source} dev lo")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {family.destination: f"{family.gateway} eth0 src {family.source}"}


@FAMILIES
async def test_source_that_goes_and_comes_at_once(machine: Machine, engine: Engine, family: Family) -> None:
    """A source that is back before anybody looked has taken the route, or its source, along all the same."""
    _prepare(machine, family)
    await engine.settle(_object(family, source=family.source))
    machine.ip(f"address del {family.source} dev lo", f"address add {family.source} dev lo")

    expected = {family.destination: f"{family.gateway} eth0 src {family.source}"}
    await engine.until(
        lambda: engine.count("reconcile_duration_seconds_count") and machine.routes() == expected, "it is"
    )
    await engine.rest()
    assert machine.routes() == expected


@FAMILIES
async def test_on_link_gateway_follows_the_route_towards_it(machine: Machine, engine: Engine, family: Family) -> None:
    """An onLink gateway on no subnet is looked for where the node would send to it, and moves when that does."""
    engine.put(_object(family, family.elsewhere, onLink=True))
    engine.complete()
    row = await engine.state_is("nat", "Failed")
    assert row.reason == Reason.GATEWAY_UNREACHABLE
    assert row.message == (f"gateway {family.elsewhere} may be on any interface: this node has no route to it")

    machine.ip(f"route add default via {family.gateway} proto static metric 4000")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {family.destination: f"{family.elsewhere} eth0 onlink"}

    other = "10.1.0.1" if family is IPV4 else "fd00:1::1"
    machine.ip(f"route add default via {other} proto static metric 3000")
    await engine.routes_are({family.destination: f"{family.elsewhere} eth1 onlink"})
    assert engine.operations() == {"add": 1, "replace": 1, "delete": 0}


@FAMILIES
async def test_on_link_gateway_behind_a_route_of_ours_is_told(machine: Machine, engine: Engine, family: Family) -> None:
    """An onLink gateway that is reached through another object has no interface of its own; nothing flaps."""
    _prepare(machine, family)
    around = "10.9.0.0/16" if family is IPV4 else "fd09::/16"
    await engine.settle(route("around", family.gateway, [around], priority=1))
    engine.put(_object(family, family.elsewhere, onLink=True))

    row = await engine.state_is("nat", "Failed")
    assert "belongs to a StaticRoute" in row.message
    await engine.rest()
    assert machine.routes() == {around: f"{family.gateway} eth0"}


@FAMILIES
async def test_excludes_are_not_routed(machine: Machine, engine: Engine, family: Family) -> None:
    """An exclude has no route, the rest of the destination has; without the exclude there is one route again."""
    if family is IPV4:
        half, quarters = "192.0.2.128/25", ["192.0.2.128/26"]
        excluded, rest = "192.0.2.192/26", {"192.0.2.0/25", *quarters}
    else:
        half, excluded, rest = "2001:db8:8000::/33", "2001:db8:c000::/34", {"2001:db8::/33", "2001:db8:8000::/34"}
    await engine.settle(_object(family, excludes=[excluded]))
    assert machine.routes() == dict.fromkeys(rest, f"{family.gateway} eth0")
    row = engine.row("nat")
    assert row is not None
    assert (row.programmed, row.destinations) == (2, 2)

    await engine.settle(_object(family, generation=2, excludes=[half]))
    await engine.settle(_object(family, generation=3))
    assert machine.routes() == {family.destination: f"{family.gateway} eth0"}


@FAMILIES
async def test_objects_with_other_places_do_not_compete(machine: Machine, engine: Engine, family: Family) -> None:
    """One prefix in two tables, and with two metrics, is three routes of three objects."""
    objects = [
        route(f"{table}-{metric}", gateway, [family.destination], table=table, metric=metric)
        for table, metric, gateway in ((254, 5, family.gateway), (254, 6, family.other), (100, 5, family.other))
    ]
    await engine.settle(*objects)

    shown = machine.query("-4" if family is IPV4 else "-6", "route", "show", "table", "all", "proto", "245")
    assert sorted((each.get("table", "254"), each["metric"], each["gateway"]) for each in shown) == [
        ("100", 5, family.other),
        ("254", 5, family.gateway),
        ("254", 6, family.other),
    ]


@FAMILIES
async def test_table_is_guarded_as_soon_as_a_rule_leads_own_packets_there(
    machine: Machine, engine: Engine, family: Family
) -> None:
    """A rule for the node's own packets turns a harmless table into one that could cut it off; what does so goes."""
    protected = "192.0.2.77" if family is IPV4 else "2001:db8::77"
    version = "-4" if family is IPV4 else "-6"
    engine.protected = lambda: protection({protected: "API server"})
    await engine.settle(_object(family, table=100))

    machine.query(version, "rule", "add", "pref", "1000", "lookup", "100")
    row = await engine.state_is("nat", "Refused")
    assert row.message.startswith(
        f"{family.destination} would capture {protected} (API server);"
        " policy rule 1000 may lead packets that this node sends to table 100;"
    )
    await engine.until(lambda: not machine.routes(table="100"), "the route is gone")

    machine.query(version, "rule", "del", "pref", "1000", "lookup", "100")
    await engine.state_is("nat", "Programmed")
    assert machine.query(version, "route", "show", "table", "100")


@FAMILIES
async def test_rule_for_the_packets_of_others_is_no_harm(machine: Machine, engine: Engine, family: Family) -> None:
    """A rule that the node's own packets don't match leaves the table to what it is for."""
    protected = "192.0.2.77" if family is IPV4 else "2001:db8::77"
    pods = "10.244.0.0/16" if family is IPV4 else "fd44::/64"
    engine.protected = lambda: protection({protected: "API server"})
    version = "-4" if family is IPV4 else "-6"
    machine.query(version, "rule", "add", "pref", "1000", "from", pods, "lookup", "100")
    await engine.settle(_object(family, table=100))
    await engine.rest()

    assert machine.routes(table="100") == {family.destination: f"{family.gateway} eth0"}


# Routes of another program that hold the place of ours, with what `ip` shows of them.
FOREIGN = pytest.mark.parametrize(
    "foreign",
    [
        "{place} via {other}",
        "{place} nexthop via {gateway} nexthop via {other}",
        "{place} nhid 7",
        "{place} nhid 9",
        "blackhole {place}",
    ],
    ids=["plain", "multipath", "nexthop object", "nexthop group", "blackhole"],
)


@FAMILIES
@FOREIGN
@pytest.mark.parametrize("place", [{}, {"table": 100, "metric": 7}], ids=["default", "table and metric"])
async def test_foreign_route_is_recognised_and_left_alone(
    machine: Machine, engine: Engine, family: Family, foreign: str, place: dict[str, Any]
) -> None:
    """Whatever shape another program's route has, in whatever table, ours does not touch it, and comes when it goes."""
    words = f"{family.destination} proto static" + "".join(f" {name} {value}" for name, value in place.items())
    machine.ip(
        f"nexthop add id 7 via {family.other} dev eth0",
        f"nexthop add id 8 via {family.gateway} dev eth0",
        "nexthop add id 9 group 7/8",
        "route add " + foreign.format(place=words, gateway=family.gateway, other=family.other),
    )
    version, table = "-4" if family is IPV4 else "-6", str(place.get("table", 254))
    before = machine.query(version, "route", "show", "table", table, "proto", "static")
    engine.put(_object(family, **place))
    engine.complete()

    row = await engine.state_is("nat", "Conflict")
    assert row.reason == Reason.FOREIGN_ROUTE
    assert "proto static)" in row.message
    await engine.rest()
    assert machine.query(version, "route", "show", "table", table, "proto", "static") == before
    assert machine.routes(table=table) == {}

    machine.query(version, "route", "del", *words.split())
    await engine.state_is("nat", "Programmed")


async def test_next_hop_of_others_merged_into_ours_is_left_alone(machine: Machine, engine: Engine) -> None:
    """The kernel merges IPv6 routes of one place; the other program's next hop stays until it takes it away itself."""
    await engine.settle(_object(IPV6))
    machine.ip(f"route append {IPV6.destination} via {IPV6.other} proto static")

    row = await engine.state_is("nat", "Conflict")
    assert f"via {IPV6.gateway}" in row.message
    assert f"via {IPV6.other}" in row.message
    engine.put(_object(IPV6, "fd00::5", generation=2))
    await engine.state_is("nat", "Conflict", 2)
    engine.reconciler._read_again()
    await engine.rest()
    assert machine.routes() == {IPV6.destination: f"{IPV6.gateway} eth0 + {IPV6.other} eth0"}

    machine.ip(f"route del {IPV6.destination} via {IPV6.other} proto static")
    await engine.state_is("nat", "Programmed")
    assert machine.routes() == {IPV6.destination: "fd00::5 eth0"}


async def test_ours_goes_from_a_merged_route_without_the_others(machine: Machine, engine: Engine) -> None:
    """A next hop that another program merged into a route of ours stays when no object needs the route any more."""
    await engine.settle(_object(IPV6))
    machine.ip(f"route append {IPV6.destination} via {IPV6.other} proto static")
    await engine.state_is("nat", "Conflict")
    engine.remove("nat")

    await engine.routes_are({})
    assert machine.routes("static") == {IPV6.destination: f"{IPV6.other} eth0"}


async def test_multipath_route_with_our_protocol_goes_whole(machine: Machine, engine: Engine) -> None:
    """An IPv6 route of several next hops that all carry our protocol and that nobody wants is removed, each of them."""
    machine.ip(f"route add {IPV6.destination} proto 245 nexthop via {IPV6.gateway} nexthop via {IPV6.other}")
    engine.complete()

    await engine.routes_are({})


@pytest.mark.parametrize("place", [{"table": 100}, {"metric": 7}], ids=["table", "metric"])
async def test_foreign_twin_is_found_in_any_place(machine: Machine, engine: Engine, place: dict[str, Any]) -> None:
    """An IPv4 route of another program that stands before ours in a table of its own is a conflict, behind it is none.

    A look-up can't tell: it ends in the main table, at the lowest metric.
    """
    words = "".join(f" {name} {value}" for name, value in place.items())
    machine.ip(f"route add {IPV4.destination} via 10.0.0.9 proto static metric 1")
    await engine.settle(_object(IPV4, **place))
    machine.ip(f"route append {IPV4.destination} via {IPV4.other} proto static{words}")
    await engine.rest()
    assert (await engine.state_is("nat", "Programmed")).programmed == 1

    machine.ip(f"route del {IPV4.destination} via {IPV4.other} proto static{words}")
    machine.ip(f"route prepend {IPV4.destination} via {IPV4.other} proto static{words}")
    row = await engine.state_is("nat", "Conflict")
    assert f"via {IPV4.other} proto static" in row.message

    machine.ip(f"route del {IPV4.destination} via {IPV4.other} proto static{words}")
    await engine.state_is("nat", "Programmed")
