"""Plans: a line for each change, and every change comes to pass."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from static_route_operator.api.noderoutestate import Row
from static_route_operator.api.nodeselector import Node
from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.kernel.fib import Fib
from static_route_operator.node.inventory import Inventory
from static_route_operator.node.planner import Planner
from static_route_operator.node.reconciler import Reconciler
from static_route_operator.observability.metrics import Metrics
from static_route_operator.planning.changes import Forecast, Kind
from static_route_operator.routing.protection import Protection
from static_route_operator.routing.routes import Routes
from tests.kernel.engine import Engine
from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace
from tests.kernel.program import call
from tests.unit.builders import manifest, route


def _plan(file: Path, *arguments: str) -> tuple[int, str]:
    done = call("plan", str(file), *arguments)
    assert not done.stderr
    return done.returncode, done.stdout


async def test_forecast_leaves_the_reconciler_alone(machine: Machine, engine: Engine) -> None:
    """A reconciler at work neither notices a dry run, nor takes over its plan."""
    await engine.settle(route(destinations=["192.0.2.1"]))
    rows, runs = engine.reconciler.rows, engine.operations()
    forecast = await Planner(engine.inventory, engine.reconciler).forecast(
        [route(gateway="10.0.0.3", destinations=["192.0.2.1", "192.0.2.2"])]
    )
    await engine.rest()

    assert (forecast.counts()["change"], forecast.counts()["add"]) == (1, 1)
    assert (engine.reconciler.rows, engine.operations()) == (rows, runs)
    assert machine.routes() == {"192.0.2.1/32": "10.0.0.1 eth0"}


async def test_rules_of_a_default_route_are_not_written(machine: Machine, engine: Engine) -> None:
    """A forecast names the rules that a default route needs or leaves behind, and neither adds nor deletes one."""
    machine.ip("route add default via 10.1.0.1")
    default = route("default", destinations=["0.0.0.0/0"], allowDefaultRoute=True)
    planner = Planner(engine.inventory, engine.reconciler)
    without = machine.query("rule")
    engine.complete()
    await engine.until(lambda: engine.reconciler.synced, "it is in sync")
    forecast = await planner.forecast([default])
    assert forecast.counts()["add"]
    assert [change.kind for change in forecast.rules] == [Kind.ADD] * 3
    assert machine.query("rule") == without

    await engine.settle(default)
    rules, routes = machine.query("rule"), machine.query("route", "show", "table", "all")
    assert rules != without
    forecast = await planner.forecast([route("other")], prune=True)
    assert forecast.counts()["delete"]
    assert [(change.kind, change.names) for change in forecast.rules] == [(Kind.DELETE, ("default",))] * 3
    assert (machine.query("rule"), machine.query("route", "show", "table", "all")) == (rules, routes)


def _rules() -> set[str]:
    """The policy rules of this program, as `ip rule` shows them."""
    shown = [
        subprocess.run(["ip", *family, "rule"], capture_output=True, text=True, check=True) for family in ([], ["-6"])
    ]
    lines = [" ".join(line.split()) for each in shown for line in each.stdout.splitlines()]
    return {line.removesuffix(" proto 245") for line in lines if line.endswith(" proto 245")}


def test_plan_names_the_rules_that_are_then_added(machine: Machine, tmp_path: Path) -> None:
    """A plan shows each policy rule of a default route, `run` adds exactly these, and a second plan shows none."""
    machine.ip("route add default via 10.1.0.1")
    machine.ip("route add default via fd00:1::1", ipv6=True)
    objects = [
        manifest("four", destinations=["0.0.0.0/0"], allowDefaultRoute=True),
        manifest("six", "fd00::1", ["::/0"], allowDefaultRoute=True),
    ]
    (tmp_path / "default.yaml").write_text(yaml.safe_dump_all(objects))

    code, output = _plan(tmp_path, "-o", "json")
    (forecast,) = json.loads(output)["nodes"]
    planned = forecast["rules"]
    assert (code, _rules()) == (1, set())
    assert {(each["action"], *each["objects"], each["family"]) for each in planned} == {
        ("add", "four", "IPv4"),
        ("add", "six", "IPv6"),
    }
    assert _plan(tmp_path)[1].endswith(f"; policy rules: {len(planned)} to add, 0 to delete. Nothing was written.\n")

    assert call("run", "--manifests", str(tmp_path), "--once").returncode == 0
    assert _rules() == {each["rule"] for each in planned}
    assert len(planned) == 6, "two for each family, and one for replies"
    code, output = _plan(tmp_path, "-o", "json")
    assert (code, json.loads(output)["nodes"][0]["rules"]) == (0, [])


def test_prune_shows_the_rules_that_would_go(machine: Machine, tmp_path: Path) -> None:
    """With --prune a rule of ours that no object needs would be deleted; the rules of others stay."""
    machine.ip("rule add pref 32702 lookup 245 proto 245", "rule add pref 99 lookup 245")
    (tmp_path / "nat.yaml").write_text(yaml.safe_dump(manifest()))

    _, output = _plan(tmp_path, "--prune")
    assert "No known StaticRoute\n  - IPv4 rule 32702: from all lookup 245\n" in output
    assert "policy rules: 0 to add, 1 to delete" in output
    _, output = _plan(tmp_path)
    assert "rule" not in output.partition("\n")[2]


def test_once_with_a_dry_run(machine: Machine, tmp_path: Path) -> None:
    """`run --once` reports the changes of a dry run, which are no failure."""
    file = tmp_path / "nat.yaml"
    file.write_text(yaml.safe_dump_all([manifest("dry", destinations=["192.0.2.7"], dryRun=True), manifest("real")]))
    done = call("run", "--manifests", str(tmp_path), "--once")

    assert (done.returncode, machine.routes()) == (0, {"192.0.2.1/32": "10.0.0.1 eth0"}), done.stdout
    assert "0/1      DryRun       would add 1\n" in done.stdout


# Plans that come true. Few destinations and gateways, so that objects, foreign routes and old ones meet.

IPV4 = ("192.0.2.0/24", "192.0.2.0/25", "192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24", "10.0.0.77/32", "10.0.0.0/8")
IPV6 = ("2001:db8::/32", "2001:db8::/48", "2001:db8::1/128", "2001:db8::2/128", "fd00::77/128")
GATEWAYS = {
    4: ("10.0.0.1", "10.0.0.3", "10.1.0.1", "10.9.0.1", "10.0.0.2"),
    6: ("fd00::1", "fd00::3", "fd00:1::1", "fd00:9::1"),
}


@st.composite
def _route(draw: st.DrawFn, names: str) -> StaticRoute:
    family = draw(st.sampled_from([4, 6]))
    destinations = draw(st.lists(st.sampled_from(IPV4 if family == 4 else IPV6), min_size=1, max_size=5, unique=True))
    addresses = draw(st.lists(st.sampled_from(GATEWAYS[family]), min_size=1, max_size=3, unique=True))
    options: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "metric": st.sampled_from([0, 50]),
                "table": st.sampled_from([254, 100]),
                "mtu": st.just(1300),
                "priority": st.sampled_from([1, 200]),
                "whenAllGatewaysDown": st.sampled_from(["Keep", "Withdraw", "Blackhole"]),
                "onLink": st.booleans(),
            },
        )
    )
    several = [{"address": each, "weight": draw(st.sampled_from([0, 1, 2]))} for each in addresses]
    several[0]["weight"] = 1
    return route(draw(st.sampled_from(names)), None, destinations, gateways=several, **options)


def _objects(names: str) -> st.SearchStrategy[list[StaticRoute]]:
    return st.lists(_route(names), max_size=3, unique_by=lambda each: each.name)


@st.composite
def _foreign(draw: st.DrawFn) -> str:
    family = draw(st.sampled_from([4, 6]))
    destination = draw(st.sampled_from(IPV4 if family == 4 else IPV6))
    gateway = draw(st.sampled_from(GATEWAYS[family][:3]))
    kind = draw(st.sampled_from([f"{destination} via {gateway}", f"blackhole {destination}"]))
    protocol, metric = draw(st.sampled_from(["static", "245"])), draw(st.sampled_from([0 if family == 4 else 1024, 50]))
    return f"route add {kind} proto {protocol} metric {metric} table {draw(st.sampled_from([254, 100]))}"


def _try(commands: list[str]) -> None:
    """Run `ip` commands; where a route is already, the next one can't be made."""
    for command in commands:
        subprocess.run(["ip", *command.split()], capture_output=True, check=False)


def _reconciler(inventory: Inventory) -> Reconciler:
    return Reconciler(inventory, Metrics(), protected=Protection)


def _inventory(routes: list[StaticRoute]) -> Inventory:
    inventory = Inventory()
    inventory.set_node(Node("node1"))
    return inventory.with_changes(routes, alone=True)


async def _read() -> Routes:
    fib = Fib()
    try:
        return await fib.read()
    finally:
        fib.close()


async def _foresee_and_apply(
    before: list[StaticRoute], after: list[StaticRoute], prune: bool
) -> tuple[Forecast, Routes, Routes, tuple[Row, ...]]:
    inventory = _inventory(before)
    there, reconciler = await _read(), _reconciler(inventory)
    forecast = await Planner(inventory, reconciler).forecast(after, prune=prune)
    reconciler.close()
    assert await _read() == there, "nothing is written"
    applied = _reconciler(inventory.with_changes(after, alone=prune))
    await applied.run_to_end()
    return forecast, there, await _read(), applied.rows


def _carried_out(forecast: Forecast, there: Routes) -> Routes:
    """The routes after a forecast came to pass; what it says of those before must be so."""
    routes = there.copy()
    for change in forecast.routes:
        if change.before is not None:
            assert not change.keys - there.through(change.before), change
        if change.kind is Kind.DELETE:
            routes.drop(change.keys)
        elif change.kind in {Kind.ADD, Kind.CHANGE}:
            assert change.next_hops is not None
            assert (change.before is None) == (change.kind is Kind.ADD)
            routes.put(change.next_hops, change.keys)
    return routes


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=_objects("abc"), foreign=st.lists(_foreign(), max_size=5), after=_objects("bcd"), prune=st.booleans())
async def test_what_is_planned_comes_to_pass(
    before: list[StaticRoute], foreign: list[str], after: list[StaticRoute], prune: bool
) -> None:
    """Whatever is there and whatever is asked for: applying it does what the plan says, and says the same of it."""
    with new_network_namespace():
        machine = Machine()
        machine.set_up()
        await _reconciler(_inventory(before)).run_to_end()
        _try(foreign)
        forecast, there, applied, rows = await _foresee_and_apply(before, after, prune)

        assert _carried_out(forecast, there) == applied
        names = {each.name for each in after}
        assert forecast.rows == tuple(row for row in rows if row.name in names)
        counts: Mapping[str, int] = forecast.counts()
        asked = sum(len(resolve(each).keys) for each in after)
        others = [each for each in forecast.routes if each.name not in names or each.kind is Kind.DELETE]
        assert sum(counts.values()) == asked + sum(len(each.keys) for each in others)
