"""All settings: a flag and an environment variable each, with one default, one range and one description.

The command line, the reference page of the docs and the values of the chart are made from these classes.
"""

import ipaddress
import re
from dataclasses import dataclass, field, fields
from typing import Any

import click

from static_route_operator.errors import SettingsError, shown

# Log levels, the lowest first.
LEVELS = ("debug", "info", "warning", "error")

# Seconds for which another log level may be set.
LONGEST_LEVEL = 7 * 86400

# A number as people write one: `float` also takes nan, 1e300, 1_000 and the digits of other scripts.
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

_LINE = r"[^\x00-\x1f\x7f]*"


class Seconds(click.ParamType[float]):
    """Type of a duration.

    Args:
        minimum: the shortest.
        maximum: the longest.
        zero: meaning of 0, which is below the minimum and valid all the same; empty if 0 is not valid.
    """

    name = "seconds"

    def __init__(self, minimum: float, maximum: float, zero: str = "") -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._zero = zero

    @property
    def bounds(self) -> str:
        """Return the range for people, with its unit."""
        zero = f"0 ({self._zero}), or " if self._zero else ""
        return f"{zero}{self._minimum:g} to {self._maximum:g} seconds"

    @property
    def schema(self) -> dict[str, Any]:
        """Return the range as a JSON schema."""
        bounds = {"minimum": self._minimum, "maximum": self._maximum}
        return {"type": "number", "anyOf": [{"const": 0}, bounds]} if self._zero else {"type": "number", **bounds}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a number of seconds within the bounds."""
        text = str(value).strip()
        seconds = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not (self._minimum <= seconds <= self._maximum or (self._zero and seconds == 0)):
            self.fail(f"{shown(value)} can't be used; give {self.bounds}", param, ctx)
        return seconds


class Port(click.ParamType[int]):
    """Type of the port of this program's HTTP server; 0 disables the server."""

    name = "port"
    bounds = "0 to 65535"

    def __init__(self) -> None:
        self.schema: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 65535}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return a port."""
        text = str(value).strip()
        port = int(text) if re.fullmatch("[0-9]{1,5}", text) else -1
        if not 0 <= port <= 65535:
            self.fail(f"{shown(value)} can't be used; give a port from {self.bounds}", param, ctx)
        return port


class Text(click.ParamType[str]):
    """Type of a text of limited length, in one line.

    Args:
        most: the greatest number of characters.
        pattern: regular expression of the whole text; the empty text is always valid.
        what: description of a valid text, for people.
    """

    name = "text"

    def __init__(self, most: int = 4096, pattern: str = "", what: str = "a text of one line") -> None:
        self._most = most
        self._pattern = pattern or _LINE
        self._what = what
        self.schema: dict[str, Any] = {"type": "string", "maxLength": most}
        if pattern:
            self.schema["pattern"] = f"^({pattern})?$"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a valid text."""
        text = str(value)
        if len(text) > self._most or (text and not re.fullmatch(self._pattern, text)):
            self.fail(f"{shown(text)} can't be used; give {self._what}, of at most {self._most} characters", param, ctx)
        return text


# Names as Kubernetes has them. They become parts of paths of the API server and of file names.
_NAME = Text(253, "[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a name of lower case letters, digits, '-' and '.'")
# A host outside a cluster may have a name with capitals or underscores.
_HOST_NAME = Text(253, "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "a name of letters, digits, '-', '_' and '.'")
_ADDRESS = Text(253, "[A-Za-z0-9.:%_-]+", "an IP address or host name, without a port")
# One path for the kernel: PATH_MAX.
_PATH = Text(4095, f"/{_LINE}", "an absolute path")


def _setting(default: Any, text: str, *, env: str = "", kind: click.ParamType[Any] | None = None) -> Any:
    kind = kind or Text()
    bounds = f" Range: {kind.bounds}." if isinstance(kind, Seconds | Port) else ""
    return field(default=default, metadata={"help": text + bounds, "env": env, "type": kind})


_NAMESPACE = "Namespace of the operator."
_LIST_SECONDS = "Seconds between complete lists, which find deletions that the watch has missed (± 20 %)."
# The least interval is long enough for an API server with a list from each of thousands of nodes.
_LIST_INTERVAL = Seconds(10, 86400)
_ROLLOUT = (
    "Number or percentage of nodes that receive a change at the same time, such as 1 or 25%, for StaticRoutes without"
    " spec.rollout; empty: all nodes at once. Set the same value for agents and controller."
)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of every long-running process; the metadata of each field has its meaning and unit."""

    http_address: str = _setting("127.0.0.1", "Address for probes, metrics and `routes`.", kind=_ADDRESS)
    http_port: int = _setting(9245, "Port for probes, metrics and `routes`; 0 disables the server.", kind=Port())
    log_level: str = _setting("info", "Lowest level that is logged.", kind=click.Choice(LEVELS))
    log_format: str = _setting("text", "Format of the log.", kind=click.Choice(("text", "json")))


@dataclass(frozen=True, slots=True)
class Settings(ProcessSettings):
    """Settings of a process that installs routes."""

    node_name: str = _setting(
        "", "Name of this node; in a pod from spec.nodeName.", env="NODE_HOSTNAME", kind=_HOST_NAME
    )
    metrics_address: str = _setting(
        "",
        "Second address for metrics alone, at the same port, such as the node's own; none unless set.",
        kind=_ADDRESS,
    )
    resync_seconds: float = _setting(
        300.0,
        "Seconds between full reads of the kernel's routes, which find changes that no notification reported (± 20 %).",
        kind=Seconds(1, 86400),
    )
    protected: str = _setting(
        "",
        "Addresses and CIDRs that no StaticRoute may capture, separated by commas, in addition to those protected by"
        " default (docs: Safety).",
    )
    claim_grace_seconds: float = _setting(
        86_400.0,
        "Seconds for which an address that has become known, such as that of a new node, only prevents new routes to"
        " it; afterwards it also ends routes that were in force before.",
        kind=Seconds(1, 31_536_000, "at once"),
    )
    rollback_seconds: float = _setting(
        10.0,
        "Seconds within which a change that cuts this node off from anything it reached before is rolled back.",
        kind=Seconds(1, 600, "no rollback"),
    )
    probes: str = _setting(
        "",
        "Endpoints that a change must leave reachable, in addition to the API server, DNS servers and the default"
        " gateway, separated by commas: icmp://ADDRESS, tcp://ADDRESS:PORT, http://ADDRESS:PORT/PATH.",
    )
    state_dir: str = _setting(
        "",
        "Directory on the host for the last known good routes, which an agent installs when it starts, before the API"
        " server answers, and for changes that are not confirmed yet; nothing is stored unless set.",
        kind=_PATH,
    )

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            SettingsError: two settings can't be used together.
        """
        if not self.metrics_address:
            return
        if not self.http_port:
            raise SettingsError("--metrics-address is set, and --http-port 0 disables the server; give a port")
        if _overlap(self.http_address, self.metrics_address):
            raise SettingsError(
                f"--metrics-address {self.metrics_address} is also served by --http-address"
                f" {self.http_address or '(all addresses)'}, and both can't listen on port {self.http_port}; leave"
                " --metrics-address empty"
            )


@dataclass(frozen=True, slots=True)
class StandaloneSettings(Settings):
    """Settings of a process that installs routes without Kubernetes."""

    state_dir: str = _setting(
        "/var/lib/static-route-operator",
        "Directory for the versions that were rolled back and for changes that are not confirmed yet, so that a restart"
        " does not try them again; nothing is stored if empty.",
        kind=_PATH,
    )
    read_seconds: float = _setting(
        30.0,
        "Seconds between reads of all manifests, which find changes that no notification reported, as on network file"
        " systems (± 20 %).",
        kind=Seconds(1, 3600),
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings(Settings):
    """Settings of an agent in a cluster."""

    namespace: str = _setting("static-routes", _NAMESPACE, env="POD_NAMESPACE", kind=_NAME)
    daemonset: str = _setting(
        "k8s-staticroute-operator",
        "Name of the DaemonSet; an agent that stops after the DaemonSet was deleted removes its routes.",
        env="OPERATOR_NAME",
        kind=_NAME,
    )
    list_seconds: float = _setting(600.0, _LIST_SECONDS, kind=_LIST_INTERVAL)
    rollout: str = _setting("", _ROLLOUT)


@dataclass(frozen=True, slots=True)
class ControllerSettings(ProcessSettings):
    """Settings of the controller."""

    http_address: str = _setting(
        "", "Address for probes and metrics; all addresses of the pod unless set.", kind=_ADDRESS
    )
    http_port: int = _setting(9246, "Port for probes and metrics; 0 disables the server.", kind=Port())
    namespace: str = _setting("static-routes", _NAMESPACE, env="POD_NAMESPACE", kind=_NAME)
    list_seconds: float = _setting(600.0, _LIST_SECONDS, kind=_LIST_INTERVAL)
    rollout: str = _setting("", _ROLLOUT)


def _overlap(some: str, other: str) -> bool:
    """Report whether two addresses, each of which may stand for all, can't both have the same port."""
    if not some:
        return True
    try:
        first, second = ipaddress.ip_address(some), ipaddress.ip_address(other)
    except ValueError:
        return some == other
    return first.version == second.version and (first == second or first.is_unspecified or second.is_unspecified)


def environment_variable(name: str, env: str) -> str:
    """Return the environment variable of a setting: its own, or one derived from the setting's name."""
    return env or f"STATIC_ROUTE_OPERATOR_{name.upper()}"


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def describe(settings: type[ProcessSettings]) -> list[tuple[str, str, str, Any, str]]:
    """Return flag, environment variable, name, default and description of every setting of a class."""
    return [
        (
            flag(each.name),
            environment_variable(each.name, each.metadata["env"]),
            each.name,
            each.default,
            each.metadata["help"],
        )
        for each in fields(settings)
    ]
