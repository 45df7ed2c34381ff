"""Options of a StaticRoute's routes on a real kernel, for IPv4 and IPv6."""

from typing import Any, NamedTuple

import pytest

from static_route_operator.api.noderoutestate import Reason
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.routing.options import METRIC_OPTIONS, MetricOption
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.unit.builders import route


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
