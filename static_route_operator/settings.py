"""All settings: each is a flag and an environment variable, with one default and one description.

The command line is made from this class, and so is the reference page of the docs.
"""

from dataclasses import dataclass, field, fields
from typing import Any


def _setting(default: Any, text: str, *, env: str = "", choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": text, "env": env, "choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """How one process runs; see the metadata of each field for its meaning and unit."""

    node_name: str = _setting("", "Name of this node; in a pod from spec.nodeName.", env="NODE_HOSTNAME")
    http_address: str = _setting("127.0.0.1", "Address that probes, metrics and `routes` are served on.")
    http_port: int = _setting(9245, "Port of the same; 0 serves nothing.")
    resync_seconds: float = _setting(
        300.0, "Seconds between full reads of the kernel's routes that nothing asked for (± 20 %)."
    )
    log_level: str = _setting("info", "Lowest level that is logged.", choices=("debug", "info", "warning", "error"))
    log_format: str = _setting("text", "Form of the log.", choices=("text", "json"))


@dataclass(frozen=True, slots=True)
class ClusterSettings(Settings):
    """What only the agent in a cluster needs."""

    namespace: str = _setting("static-routes", "Namespace of the DaemonSet.", env="POD_NAMESPACE")
    daemonset: str = _setting(
        "k8s-staticroute-operator",
        "Name of the DaemonSet; when it is gone at the agent's end, the routes are removed.",
        env="OPERATOR_NAME",
    )
    list_seconds: float = _setting(
        600.0, "Seconds between lists that find deletions which the watch has missed (± 20 %)."
    )
    protected: str = _setting(
        "", "Addresses besides the API server's that no StaticRoute may capture, separated by commas."
    )


def environment_variable(name: str, env: str) -> str:
    """The environment variable of a setting: its own, or derived from its name."""
    return env or f"STATIC_ROUTE_OPERATOR_{name.upper()}"


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def describe(settings: type[Settings]) -> list[tuple[str, str, str, Any, str]]:
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
