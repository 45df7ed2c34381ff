"""All settings: a flag and an environment variable each, with one default, one range and one description.

The command line, the reference page of the docs and the values of the chart are made from these classes.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import click

# Log levels, the lowest first.
LEVELS = ("debug", "info", "warning", "error")


class Seconds(click.FloatRange):
    """Type of a duration on the command line.

    click's own range accepts ``nan``, with which a timer never fires.
    """

    name = "seconds"

    def __init__(self, minimum: float) -> None:
        super().__init__(min=minimum)
        self.minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a finite number of seconds that is not below the minimum."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not self.minimum <= seconds < math.inf:
            self.fail(f"'{value}' can't be used; give a number of seconds, {self.minimum:g} or more", param, ctx)
        return seconds


class Port(click.IntRange):
    """Type of the port of this program's HTTP server; 0 disables the server."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(0, 65535)


def _setting(default: Any, text: str, *, env: str = "", kind: click.ParamType[Any] = click.STRING) -> Any:
    return field(default=default, metadata={"help": text, "env": env, "type": kind})


_NAMESPACE = "Namespace of the operator."
_LIST_SECONDS = "Seconds between complete lists, which find deletions that the watch has missed (± 20 %)."
_ROLLOUT = (
    "Number or percentage of nodes that receive a change at the same time, such as 1 or 25%, for StaticRoutes without"
    " spec.rollout; empty: all nodes at once. Set the same value for agents and controller."
)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of every long-running process; the metadata of each field has its meaning and unit."""

    http_address: str = _setting("127.0.0.1", "Address for probes, metrics and `routes`.")
    http_port: int = _setting(9245, "Port for probes, metrics and `routes`; 0 disables the server.", kind=Port())
    log_level: str = _setting("info", "Lowest level that is logged.", kind=click.Choice(LEVELS))
    log_format: str = _setting("text", "Format of the log.", kind=click.Choice(("text", "json")))


@dataclass(frozen=True, slots=True)
class Settings(ProcessSettings):
    """Settings of a process that installs routes."""

    node_name: str = _setting("", "Name of this node; in a pod from spec.nodeName.", env="NODE_HOSTNAME")
    metrics_address: str = _setting(
        "", "Second address for metrics alone, at the same port, such as the node's own; none unless set."
    )
    resync_seconds: float = _setting(
        300.0,
        "Seconds between full reads of the kernel's routes, which find changes that no notification reported (± 20 %).",
        kind=Seconds(0.1),
    )
    protected: str = _setting(
        "",
        "Addresses and CIDRs that no StaticRoute may capture, separated by commas, in addition to those protected by"
        " default (docs: Safety).",
    )
    claim_grace_seconds: float = _setting(
        86_400.0,
        "Seconds for which an address that has become known, such as that of a new node, only prevents new routes to"
        " it; afterwards it also ends routes that were in force before; 0: at once.",
        kind=Seconds(0),
    )
    rollback_seconds: float = _setting(
        10.0,
        "Seconds within which a change that cuts this node off from anything it reached before is rolled back; 0"
        " disables rollback.",
        kind=Seconds(0),
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
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings(Settings):
    """Settings of an agent in a cluster."""

    namespace: str = _setting("static-routes", _NAMESPACE, env="POD_NAMESPACE")
    daemonset: str = _setting(
        "k8s-staticroute-operator",
        "Name of the DaemonSet; an agent that stops after the DaemonSet was deleted removes its routes.",
        env="OPERATOR_NAME",
    )
    list_seconds: float = _setting(600.0, _LIST_SECONDS, kind=Seconds(0.1))
    rollout: str = _setting("", _ROLLOUT)


@dataclass(frozen=True, slots=True)
class ControllerSettings(ProcessSettings):
    """Settings of the controller."""

    http_address: str = _setting("", "Address for probes and metrics; all addresses of the pod unless set.")
    http_port: int = _setting(9246, "Port for probes and metrics; 0 disables the server.", kind=Port())
    namespace: str = _setting("static-routes", _NAMESPACE, env="POD_NAMESPACE")
    list_seconds: float = _setting(600.0, _LIST_SECONDS, kind=Seconds(0.1))
    rollout: str = _setting("", _ROLLOUT)


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
