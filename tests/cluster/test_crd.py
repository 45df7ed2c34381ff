"""Tests of the CRD: the API server accepts and refuses the right objects, with messages that help."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from static_route_operator.api.resolution import resolve
from static_route_operator.api.staticroute import StaticRoute
from static_route_operator.errors import InvalidSpecError
from static_route_operator.standalone.validation import validate
from tests.lab.cluster import Cluster
from tests.lab.commands import run

GATEWAY = "10.116.0.5"

# The mistake, destinations, gateway, and the words that a person must find in the answer.
REFUSED = [
    ("no address", ["x"], GATEWAY, "'x' is not an IP address or CIDR"),
    ("a name", ["example.com"], GATEWAY, "'example.com' is not an IP address or CIDR"),
    ("out of range", ["999.1.1.1"], GATEWAY, "'999.1.1.1' is not an IP address or CIDR"),
    ("length", ["10.0.0.0/33"], GATEWAY, "'10.0.0.0/33' is not an IP address or CIDR"),
    ("mapped", ["::ffff:1.2.3.4"], "fd00::1", "'::ffff:1.2.3.4' is not an IP address or CIDR"),
    ("zone", ["fe80::1%eth0"], "fd00::1", "'fe80::1%eth0' is not an IP address or CIDR"),
    ("host bits", ["10.0.0.5/24"], GATEWAY, "'10.0.0.5/24' has host bits set"),
    ("host bits, IPv6", ["2001:db8::1/32"], "fd00::1", "'2001:db8::1/32' has host bits set"),
    ("default route", ["0.0.0.0/0"], GATEWAY, "the default route, or half of it, needs allowDefaultRoute: true"),
    ("half of it", ["128.0.0.0/1"], GATEWAY, "the default route, or half of it, needs allowDefaultRoute: true"),
    ("the other half", ["0.0.0.0/1"], GATEWAY, "the default route, or half of it, needs allowDefaultRoute: true"),
    ("IPv6 default route", ["::/0"], "fd00::1", "the default route, or half of it, needs allowDefaultRoute: true"),
    ("IPv6 half", ["8000::/1"], "fd00::1", "the default route, or half of it, needs allowDefaultRoute: true"),
    ("loopback", ["127.0.0.1"], GATEWAY, "'127.0.0.1' is loopback"),
    ("loopback net", ["127.0.0.0/8"], GATEWAY, "'127.0.0.0/8' is loopback"),
    ("IPv6 loopback", ["::1"], "fd00::1", "'::1' is loopback"),
    ("link-local", ["169.254.169.254"], GATEWAY, "'169.254.169.254' is loopback, link-local"),
    ("IPv6 link-local", ["fe80::/64"], "fd00::1", "'fe80::/64' is loopback, link-local"),
    ("multicast", ["224.0.0.0/4"], GATEWAY, "'224.0.0.0/4' is loopback, link-local, multicast"),
    ("IPv6 multicast", ["ff02::1"], "fd00::1", "'ff02::1' is loopback, link-local, multicast"),
    ("broadcast", ["255.255.255.255"], GATEWAY, "'255.255.255.255' is loopback, link-local, multicast, broadcast"),
    ("this network", ["0.1.2.3"], GATEWAY, "'0.1.2.3' is loopback"),
    ("family", ["10.0.0.0/8"], "fd00::1", "must be of one address family"),
    ("mixed family", ["10.0.0.0/8", "2001:db8::/32"], GATEWAY, "must be of one address family"),
    ("empty", [], GATEWAY, "spec.destinations"),
    ("gateway is a CIDR", ["10.0.0.0/8"], "10.116.0.5/24", "gateway '10.116.0.5/24' is not an IP address"),
    ("placeholder", ["10.0.0.0/8"], "<GATEWAY>", "gateway '<GATEWAY>' is not an IP address"),
    ("gateway is loopback", ["10.0.0.0/8"], "127.0.0.1", "gateway '127.0.0.1' is not a unicast address"),
    (
        "gateway is link-local",
        ["2001:db8::/32"],
        "fe80::1",
        "gateway 'fe80::1' is link-local, which is not supported yet",
    ),
    ("gateway is multicast", ["10.0.0.0/8"], "224.0.0.1", "gateway '224.0.0.1' is not a unicast address"),
    ("gateway is unspecified", ["10.0.0.0/8"], "0.0.0.0", "gateway '0.0.0.0' is not a unicast address"),  # noqa: S104
]

IPV6 = {"destinations": ["2001:db8::/32"], "gateway": "fd00::1"}

# The mistake, the fields beside destinations and gateway (or in their place), and the words.
REFUSED_OPTIONS: list[tuple[str, dict[str, object], str]] = [
    (
        "default route on link, and where is not said",
        {"allowDefaultRoute": True, "onLink": True, "destinations": ["0.0.0.0/0"]},
        "a default route that is onLink needs gateways with an interface each",
    ),
    ("exclude is no address", {"excludes": ["x"]}, "'x' is not an IP address or CIDR"),
    ("exclude is no text", {"excludes": [5]}, "spec.excludes[0]"),
    ("exclude with host bits", {"excludes": ["10.0.0.0/24", "10.0.0.5/24"]}, "'10.0.0.5/24' has host bits set"),
    ("exclude with IPv6 host bits", {**IPV6, "excludes": ["2001:db8::1/64"]}, "'2001:db8::1/64' has host bits set"),
    (
        "exclude of another family",
        {"excludes": ["2001:db8::/48"]},
        "excludes and gateway must be of one address family",
    ),
    ("IPv4 exclude", {**IPV6, "excludes": ["2001:db8::1", "10.0.0.1"]}, "excludes and gateway must be of one address"),
    ("excludes are no list", {"excludes": "10.0.0.1"}, "spec.excludes"),
    ("metric below 0", {"metric": -1}, "spec.metric"),
    ("metric of 33 bits", {"metric": 1 << 32}, "spec.metric"),
    ("metric as text", {"metric": "100"}, "spec.metric"),
    ("metric in parts", {"metric": 1.5}, "spec.metric"),
    ("table 0", {"table": 0}, "spec.table"),
    ("local table", {"table": 255}, "table 255 (local) is the kernel's own"),
    ("table of 33 bits", {"table": 1 << 32}, "spec.table"),
    ("table by name", {"table": "main"}, "spec.table"),
    ("small mtu", {"mtu": 67}, "spec.mtu"),
    ("small IPv6 mtu", {**IPV6, "mtu": 1279}, "mtu must be at least 1280 for IPv6"),
    ("large mtu", {"mtu": 65_521}, "spec.mtu"),
    ("small advmss", {"advmss": 87}, "spec.advmss"),
    ("small IPv6 advmss", {**IPV6, "advmss": 1219}, "advmss must be at least 1220 for IPv6"),
    ("large advmss", {"advmss": 65_496}, "spec.advmss"),
    ("initcwnd 0", {"initcwnd": 0}, "spec.initcwnd"),
    ("initrwnd as text", {"initrwnd": "10"}, "spec.initrwnd"),
    ("source is a CIDR", {"source": "10.0.0.2/32"}, "source '10.0.0.2/32' is not an IP address"),
    ("source of another family", {"source": "fd00::2"}, "source and gateway must be of one address family"),
    ("IPv4 source", {**IPV6, "source": "10.0.0.2"}, "source and gateway must be of one address family"),
    ("loopback source", {"source": "127.0.0.1"}, "source '127.0.0.1' is not a unicast address of the node"),
    ("link-local source", {**IPV6, "source": "fe80::1"}, "source 'fe80::1' is link-local, which is not supported yet"),
    ("unspecified source", {"source": "0.0.0.0"}, "source '0.0.0.0' is not a unicast address of the node"),  # noqa: S104
    ("onLink as text", {"onLink": "yes"}, "spec.onLink"),
    ("roll-out to no node", {"rollout": {"maxUnavailable": 0}}, "must be a number of nodes"),
    ("roll-out to a word", {"rollout": {"maxUnavailable": "half"}}, "must be a number of nodes"),
    ("roll-out to too many", {"rollout": {"maxUnavailable": "101%"}}, "must be a number of nodes"),
    ("roll-out by a list", {"rollout": []}, "spec.rollout"),
    ("dry run by a word", {"dryRun": "yes"}, "spec.dryRun"),
]

ONE, OTHER = {"address": "10.116.0.5"}, {"address": "10.116.0.6"}
MANY = [{"address": f"10.116.0.{index}", "weight": index, "priority": index} for index in range(1, 33)]


def _several(*gateways: object) -> dict[str, object]:
    return {"gateway": None, "gateways": list(gateways)}


REFUSED_OPTIONS += [
    ("gateway beside gateways", {"gateways": [ONE]}, "exactly one of gateway and gateways"),
    ("no gateway", {"gateway": None}, "exactly one of gateway and gateways"),
    ("no gateways", _several(), "spec.gateways"),
    ("too many gateways", _several(*MANY, {"address": "10.116.0.99"}), "spec.gateways"),
    ("gateway without address", _several({"weight": 1}), "spec.gateways[0].address: Required value"),
    ("gateway in gateways is no address", _several(ONE, {"address": "x"}), "gateway 'x' is not an IP address"),
    ("gateways of two families", _several(ONE, {"address": "fd00::1"}), "gateways must be of one address family"),
    ("gateway twice", _several(ONE, OTHER, ONE), "each gateway must be listed once"),
    (
        "gateway twice in other words",
        {**IPV6, **_several({"address": "fd00::1"}, {"address": "fd00:0::1"})},
        "each gateway must be listed once",
    ),
    ("large weight", _several({**ONE, "weight": 257}), "spec.gateways[0].weight"),
    ("weight below 0", _several({**ONE, "weight": -1}), "spec.gateways[0].weight"),
    ("large gateway priority", _several({**ONE, "priority": 1001}), "spec.gateways[0].priority"),
    ("name of no interface", _several({**ONE, "interface": "a/b"}), "spec.gateways[0].interface"),
    ("selector of a gateway without terms", _several({**ONE, "nodeSelector": {}}), "nodeSelectorTerms"),
    ("unknown check", {"healthCheck": {"type": "UDP"}}, "spec.healthCheck.type"),
    ("check without port", {"healthCheck": {"type": "TCP"}}, "port must be set for TCP and HTTP, and not for ICMP"),
    ("port for ICMP", {"healthCheck": {"port": 80}}, "port must be set for TCP and HTTP, and not for ICMP"),
    ("path for TCP", {"healthCheck": {"type": "TCP", "port": 1, "path": "/"}}, "path may be set only for HTTP"),
    ("relative path", {"healthCheck": {"type": "HTTP", "port": 1, "path": "x"}}, "spec.healthCheck.path"),
    ("number as interval", {"healthCheck": {"interval": "1"}}, "spec.healthCheck.interval"),
    ("short interval", {"healthCheck": {"interval": "9ms"}}, "must be from 10ms to 1h"),
    ("long interval", {"healthCheck": {"interval": "1h1ms"}}, "must be from 10ms to 1h"),
    ("no timeout", {"healthCheck": {"timeout": "0s"}}, "must be from 1ms to 1m"),
    ("long timeout", {"healthCheck": {"timeout": "1m1s"}}, "must be from 1ms to 1m"),
    ("threshold 0", {"healthCheck": {"failureThreshold": 0}}, "spec.healthCheck.failureThreshold"),
    ("large threshold", {"healthCheck": {"successThreshold": 101}}, "spec.healthCheck.successThreshold"),
    ("unknown policy", {"whenAllGatewaysDown": "Drop"}, "spec.whenAllGatewaysDown"),
]

ACCEPTED_OPTIONS: list[dict[str, object]] = [
    {"allowDefaultRoute": True, "destinations": ["0.0.0.0/0"], "excludes": ["10.0.0.0/8"]},
    {"allowDefaultRoute": True, "destinations": ["0.0.0.0/1", "128.0.0.0/1"]},
    {**IPV6, "allowDefaultRoute": True, "destinations": ["::/0"]},
    {"excludes": ["10.0.0.5", "10.1.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "128.0.0.0/1"]},
    {**IPV6, "excludes": ["2001:db8::1", "2001:db8:1::/48", "fe80::/10", "8000::/1"]},
    {"excludes": []},
    {"gateway": "169.254.10.1", "source": "169.254.10.2"},
    _several({**ONE, "interface": "enp0s31f6-" + "x" * 100}),
    {"metric": 0, "table": 1, "mtu": 68, "source": "10.116.0.9", "onLink": False},
    {"metric": (1 << 32) - 1, "table": (1 << 32) - 1, "mtu": 65_520, "onLink": True},
    {**IPV6, "metric": 0, "table": 253, "mtu": 1280, "source": "fd00::9", "onLink": True},
    _several(*MANY),
    {**IPV6, **_several({"address": "fd00::1", "interface": "enp0s31f6.4094"}, {"address": "fd00::2", "weight": 256})},
    _several(
        {
            **ONE,
            "weight": 0,
            "nodeSelector": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            },
        }
    )
    | {"source": "10.116.0.9", "mtu": 1400, "excludes": ["10.0.0.5"], "whenAllGatewaysDown": "Blackhole"},
    {"healthCheck": {}, "whenAllGatewaysDown": "Keep"},
    {"healthCheck": {"interval": "10ms", "timeout": "1ms", "failureThreshold": 1, "successThreshold": 1}},
    {"healthCheck": {"type": "TCP", "port": 22, "interval": "59m60s", "timeout": "1m"}},
    {"healthCheck": {"type": "HTTP", "port": 80, "path": "/healthz?a=b", "interval": "1.5s"}},
    {"advmss": 88, "initcwnd": 1, "initrwnd": 65_535},
    {**IPV6, "advmss": 1220, "initcwnd": 65_535, "initrwnd": 1},
    {"metric": None, "table": None, "mtu": None, "source": None, "onLink": None, "excludes": None},
    {"rollout": {}},
    {"rollout": {"maxUnavailable": 3, "pauseOnFailure": False}},
    {"rollout": {"maxUnavailable": "25%"}},
    {"dryRun": True},
]

ACCEPTED = [
    (["34.160.111.145"], GATEWAY),
    (["34.160.111.145/32", "10.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10"], GATEWAY),
    (["2001:db8::/32", "2001:DB8:0:0::1", "fd00:9::/64"], "fd00:116::5"),
    (["64.0.0.0/2"], GATEWAY),
]


@pytest.fixture(scope="module")
def cluster(api_server: Cluster) -> Cluster:
    """Return an API server of each promised version: it compiles the rules of a CRD and estimates their cost."""
    return api_server


def body(destinations: Sequence[str], gateway: str, **spec: object) -> dict[str, Any]:
    """A StaticRoute as JSON."""
    return {
        "apiVersion": "networking.digitalocean.com/v1",
        "kind": "StaticRoute",
        "metadata": {"name": "test"},
        "spec": {"destinations": list(destinations), "gateway": gateway, **spec},
    }


def dry_run(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """The API server's answer: empty when it accepts. The same holds for `validate`, which asks nobody."""
    argv = cluster.kubectl_command("create", "--dry-run=server", "-f", "-")
    text = json.dumps(manifest)
    done = run(argv, stdin=text, check=False)
    findings = validate({"manifest": text})["findings"]
    assert bool(findings) == bool(done.returncode), (done.stderr, findings)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(("what", "destinations", "gateway", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(cluster: Cluster, what: str, destinations: list[str], gateway: str, words: str) -> None:
    """The API server refuses an object that can never work, with the reason, and so does the node's own check."""
    manifest = body(destinations, gateway)
    assert words in dry_run(cluster, manifest)
    try:
        route = StaticRoute.parse(manifest)
    except InvalidSpecError:
        return
    assert resolve(route).refused


@pytest.mark.parametrize(("destinations", "gateway"), ACCEPTED)
def test_accepted(cluster: Cluster, destinations: list[str], gateway: str) -> None:
    """The API server accepts an object that can work, and so does the node's own check."""
    manifest = body(destinations, gateway)
    assert dry_run(cluster, manifest) == ""
    assert resolve(StaticRoute.parse(manifest)).refused == ()


def _with(options: dict[str, object]) -> dict[str, Any]:
    manifest = body(["10.0.0.0/8"], GATEWAY)
    manifest["spec"] |= options
    return manifest


@pytest.mark.parametrize(
    ("what", "options", "words"), REFUSED_OPTIONS, ids=[case[0].replace(" ", "-") for case in REFUSED_OPTIONS]
)
def test_option_refused(cluster: Cluster, what: str, options: dict[str, object], words: str) -> None:
    """An option that can never work is refused by the API server, and by the node's own check with its field."""
    manifest = _with(options)
    assert words in dry_run(cluster, manifest)
    with pytest.raises(InvalidSpecError) as caught:
        StaticRoute.parse(manifest)
    assert re.split(r"[.\[]", caught.value.field)[1] in options


@pytest.mark.parametrize("options", ACCEPTED_OPTIONS)
def test_option_accepted(cluster: Cluster, options: dict[str, object]) -> None:
    """An option that can work is accepted by the API server, and by the node's own check as well."""
    manifest = _with(options)
    assert dry_run(cluster, manifest) == ""
    assert resolve(StaticRoute.parse(manifest)).refused == ()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("gateway", "exactly one of gateway and gateways must be set"),
        ("destinations", "spec.destinations: Required value"),
    ],
)
def test_required(cluster: Cluster, field: str, words: str) -> None:
    """A spec without gateway or destinations is refused, and the field named."""
    manifest = body(["10.0.0.0/8"], GATEWAY)
    del manifest["spec"][field]
    assert words in dry_run(cluster, manifest)


def test_no_spec(cluster: Cluster) -> None:
    """An object without a spec is refused."""
    manifest = body(["10.0.0.0/8"], GATEWAY)
    del manifest["spec"]
    assert "spec: Required value" in dry_run(cluster, manifest)


def test_unknown_field(cluster: Cluster) -> None:
    """A misspelt field is refused by kubectl's validation, and named."""
    assert 'unknown field "spec.gatway"' in dry_run(cluster, body(["10.0.0.0/8"], GATEWAY, gatway="x"))


@pytest.mark.parametrize("priority", [-1, 1001, "high"])
def test_priority(cluster: Cluster, priority: object) -> None:
    """A priority out of its range is refused."""
    assert "spec.priority" in dry_run(cluster, body(["10.0.0.0/8"], GATEWAY, priority=priority))


def test_every_bad_destination_is_named_at_once(cluster: Cluster) -> None:
    """Several bad destinations are listed in one answer, each with its place."""
    answer = dry_run(cluster, body(["10.0.0.5/24", "10.0.0.0/8", "x"], GATEWAY))
    assert "spec.destinations[0]" in answer
    assert "spec.destinations[2]" in answer


@pytest.mark.parametrize("number", [10_000, 20_000])
def test_size(cluster: Cluster, number: int) -> None:
    """One object may hold 10,000 destinations and more."""
    destinations = [f"21.{index // 65536}.{index // 256 % 256}.{index % 256}" for index in range(number)]
    assert dry_run(cluster, body(destinations, GATEWAY)) == ""


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_size_of_excludes(cluster: Cluster, ipv6: bool) -> None:
    """One object may cut a thousand prefixes out of 20,000."""
    if ipv6:
        manifest = body([f"2001:db8:{index:x}::/48" for index in range(20_000)], "fd00::1")
        manifest["spec"]["excludes"] = [f"2001:db8:{index:x}:1234:1234:1234:1234:1234" for index in range(1000)]
    else:
        manifest = body([f"21.{index // 256}.{index % 256}.0/24" for index in range(20_000)], GATEWAY)
        manifest["spec"]["excludes"] = [f"21.{index // 256}.{index % 256}.77/32" for index in range(1000)]
    assert dry_run(cluster, manifest) == ""


def test_columns(cluster: Cluster) -> None:
    """`kubectl get staticroutes -o wide` shows destinations, gateway and how it fares; the short name works too."""
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body(["34.160.111.145"], GATEWAY)))
    try:
        header, row = cluster.kubectl("get", "staticroutes", "-o", "wide").splitlines()
        columns = ["GATEWAY", "ROUTES", "READY", "STATUS", "AGE"]
        assert header.split() == ["NAME", "DESTINATIONS", *columns]
        assert row.split()[:3] == ["test", '["34.160.111.145"]', GATEWAY]
        assert cluster.kubectl("get", "sr").splitlines()[0].split() == ["NAME", *columns]
        # The controller writes the addresses of several gateways.
        cluster.kubectl("patch", "sr", "test", "--type=merge", "-p", json.dumps({"spec": _several(ONE, OTHER)}))
        status = json.dumps({"status": {"gateway": "10.116.0.5, 10.116.0.6"}})
        cluster.kubectl("patch", "sr", "test", "--subresource=status", "--type=merge", "-p", status)
        assert "10.116.0.5, 10.116.0.6" in cluster.kubectl("get", "sr").splitlines()[1]
    finally:
        cluster.kubectl("delete", "staticroute", "test")
