"""All settings: each is a flag and an environment variable, with one default and one description.

The command line is made from this class, and so is the reference page of the docs.
"""

from dataclasses import dataclass, field, fields
from typing import Any


def _setting(default: Any, text: str, *, env: str = "", choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": text, "env": env, "choices": choices})


_ROLLOUT = (
    "Roll out StaticRoutes without spec.rollout to so many nodes at a time, such as 1 or 25%; empty: to all at once."
    " The same for agents and controller."
)
# Of the log, the lowest first.
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What every process that goes on running has; see the metadata of each field for its meaning and unit."""

    http_address: str = _setting("127.0.0.1", "Address that probes, metrics and `routes` are served on.")
    http_port: int = _setting(9245, "Port of the same; 0 serves nothing.")
    log_level: str = _setting("info", "Lowest level that is logged.", choices=LEVELS)
    log_format: str = _setting("text", "Form of the log.", choices=("text", "json"))


@dataclass(frozen=True, slots=True)
class Settings(ProcessSettings):
    """What only a process that routes needs."""

    node_name: str = _setting("", "Name of this node; in a pod from spec.nodeName.", env="NODE_HOSTNAME")
    metrics_address: str = _setting(
        "", "Address of this node that metrics alone are served on too, at the same port; none unless set."
    )
    resync_seconds: float = _setting(
        300.0, "Seconds between full reads of the kernel's routes that nothing asked for (± 20 %)."
    )
    protected: str = _setting(
        "",
        "Addresses and CIDRs that no StaticRoute may capture, separated by commas, beside those that are known (docs:"
        " Safety).",
    )
    rollback_seconds: float = _setting(
        10.0,
        "Seconds within which a change is undone that cuts this node off from what it reached before; 0 undoes none.",
    )
    probes: str = _setting(
        "",
        "What a change must leave reachable besides the API server, DNS servers and the default gateway, separated by"
        " commas: icmp://ADDRESS, tcp://ADDRESS:PORT, http://ADDRESS:PORT/PATH.",
    )
    state_dir: str = _setting(
        "",
        "Directory on the host for the last known good routes, which an agent installs at its start before the API"
        " server answers, and for what is on trial; nothing is kept unless set.",
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings(Settings):
    """What only the agent in a cluster needs."""

    namespace: str = _setting("static-routes", "Namespace of the operator.", env="POD_NAMESPACE")
    daemonset: str = _setting(
        "k8s-staticroute-operator",
        "Name of the DaemonSet; when it is gone at the agent's end, the routes are removed.",
        env="OPERATOR_NAME",
    )
    list_seconds: float = _setting(
        600.0, "Seconds between lists that find deletions which the watch has missed (± 20 %)."
    )
    rollout: str = _setting("", _ROLLOUT)


@dataclass(frozen=True, slots=True)
class ControllerSettings(ProcessSettings):
    """How the controller runs."""

    http_address: str = _setting("", "Address that probes and metrics are served on; all of the pod's unless set.")
    http_port: int = _setting(9246, "Port of the same; 0 serves nothing.")
    namespace: str = _setting("static-routes", "Namespace of the operator.", env="POD_NAMESPACE")
    list_seconds: float = _setting(
        600.0, "Seconds between lists that find deletions which the watch has missed (± 20 %)."
    )
    rollout: str = _setting("", _ROLLOUT)


def environment_variable(name: str, env: str) -> str:
    """The environment variable of a setting: its own, or derived from its name."""
    return env or f"STATIC_ROUTE_OPERATOR_{name.upper()}"


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def describe(settings: type[ProcessSettings]) -> list[tuple[str, str, str, Any, str]]:
    """Flag, environment variable, name, default and description of every setting of a class."""
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
