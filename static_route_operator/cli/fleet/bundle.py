"""Support archive: the state of a cluster and its nodes, for somebody who has no access to them.

Addresses, names and routes are kept, since no problem can be diagnosed without them. Secrets are never read. Places
where secrets end up by accident are removed: environment variables of pods, annotations, and texts that look like
tokens.
"""

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from static_route_operator import __version__
from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.api.staticroute import PLURAL as ROUTES
from static_route_operator.cli.fleet.agents import AGENT, CONTROLLER, PARALLEL, Agents, Pod, by_node, list_pods
from static_route_operator.cli.fleet.kubectl import ClusterError

# Lines kept of each log.
LOG_LINES = 5000

# Prefixes of this program's settings. All other environment variables may hold secrets.
_OWN_VARIABLES = ("STATIC_ROUTE_OPERATOR_", "NODE_HOSTNAME", "POD_NAMESPACE", "OPERATOR_NAME")
_REMOVED = "(removed)"
_SECRETS = (
    re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"(?i)(?<=password[=:])\s*\S+|(?<=token[=:])\s*\S+|(?<=secret[=:])\s*\S+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
)

_README = """\
Support archive of static-route-operator {version}, {time} UTC.

status.txt, gateways.txt, diff.txt   output of the verbs status, gateways and diff
objects/                             StaticRoutes, NodeRouteStates, nodes, pods, workloads, Events
nodes/NODE/summary.json              StaticRoutes and gateways as the agent reports them
nodes/NODE/snapshot.txt              links, addresses, rules and routes of the kernel
nodes/NODE/log.txt, log-previous.txt logs of the agent's container and of the previous container
controller/                          logs of the controller
pods/POD/                            logs of agents that no node is served by, such as pods that wait for a node
missing.txt                          files that could not be collected, and why

Addresses and names are unchanged. Secrets were not read, and texts that look like secrets were removed.
"""


class _Archive:
    """A new tar.gz file.

    Args:
        file: path, which must not exist.

    Attributes:
        missing: files that could not be collected, and why.
    """

    def __init__(self, file: Path) -> None:
        self._root = file.name.removesuffix(".tar.gz")
        self._tar = tarfile.open(file, "x:gz")  # noqa: SIM115  closed by close()
        self.missing: list[str] = []
        self._now = time.time()

    def add(self, name: str, content: str) -> None:
        """Add a file."""
        data = scrub(content).encode()
        entry = tarfile.TarInfo(f"{self._root}/{name}")
        entry.size, entry.mtime = len(data), int(self._now)
        self._tar.addfile(entry, io.BytesIO(data))

    def attempt(self, name: str, fetch: Callable[[], str]) -> None:
        """Add a file, or record in ``missing`` why it could not be fetched."""
        try:
            content = fetch()
        except ClusterError as error:
            self.lacks(name, str(error))
        else:
            self.add(name, content)

    def lacks(self, name: str, problem: str) -> None:
        """Record that a file, or a part of it, could not be fetched."""
        self.missing.append(f"{name}: {problem}")

    def close(self) -> None:
        """Add missing.txt and close the file."""
        self.add("missing.txt", "\n".join(self.missing or ["nothing"]) + "\n")
        self._tar.close()


def scrub(text: str) -> str:
    """Return a text without the parts that look like secrets."""
    for pattern in _SECRETS:
        text = pattern.sub(_REMOVED, text)
    return text


def redact(body: Any) -> Any:
    """Return an object of the API server without fields that may hold secrets, or that do not help."""
    if isinstance(body, list):
        return [redact(each) for each in body]
    if not isinstance(body, dict):
        return body
    found = {name: redact(value) for name, value in body.items() if name not in {"managedFields", "annotations"}}
    for variable in found.get("env") or ():
        if "value" in variable and not str(variable.get("name")).startswith(_OWN_VARIABLES):
            variable["value"] = _REMOVED
    return found


def write(
    agents: Agents,
    file: Path,
    answers: Mapping[str, Callable[[Callable[[str], None]], str]],
    progress: Callable[[str], None],
) -> list[str]:
    """Write the archive.

    Args:
        agents: of the cluster.
        file: path of the archive.
        answers: functions that make the answers of verbs, by file name in the archive. Each calls its argument with
            every part that could not be asked.
        progress: called with the name of each step.

    Returns:
        Files that could not be collected, and why.

    Raises:
        OSError: the file cannot be written.
    """
    archive = _Archive(file)
    archive.add(
        "README.txt", _README.format(version=__version__, time=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()))
    )
    for name, answer in answers.items():
        progress(name)
        archive.attempt(name, partial(answer, partial(archive.lacks, name)))
    progress("objects")
    for name, fetch in _objects(agents):
        archive.attempt(f"objects/{name}.json", fetch)
    for verb, argv in {"summary.json": ("routes", "--summary", "-o", "json"), "snapshot.txt": ("snapshot",)}.items():
        progress(f"nodes: {verb}")
        _ask(agents, archive, verb, argv)
    progress("logs")
    _logs(agents, archive)
    archive.close()
    return archive.missing


def _objects(agents: Agents) -> Iterator[tuple[str, Callable[[], str]]]:
    paths = {
        "staticroutes": f"/apis/{GROUP}/{VERSION}/{ROUTES}",
        "noderoutestates": f"/apis/{GROUP}/{VERSION}/{STATES}",
        "nodes": "/api/v1/nodes",
        "pods": f"/api/v1/namespaces/{agents.namespace}/pods",
        "daemonsets": f"/apis/apps/v1/namespaces/{agents.namespace}/daemonsets",
        "deployments": f"/apis/apps/v1/namespaces/{agents.namespace}/deployments",
        "events": f"/api/v1/namespaces/{agents.namespace}/events",
        # Events of cluster-scoped objects are in the namespace default.
        "events-of-staticroutes": "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind%3DStaticRoute",
    }
    for name, path in paths.items():
        yield name, partial(_object, agents, path)


def _object(agents: Agents, path: str) -> str:
    return json.dumps(redact(agents.kubectl.get(path)), indent=1)


def _ask(agents: Agents, archive: _Archive, name: str, argv: tuple[str, ...]) -> None:
    try:
        for reply in agents.ask(*argv, parse=_text):
            if reply.answer is None:
                archive.missing.append(f"nodes/{reply.node}/{name}: {reply.problem}")
            else:
                archive.add(f"nodes/{reply.node}/{name}", reply.answer)
    except ClusterError as error:
        archive.missing.append(f"nodes/*/{name}: {error}")


def _text(text: str) -> str:
    if not text:
        raise ValueError("no output")
    return text


def _logs(agents: Agents, archive: _Archive) -> None:
    try:
        found = list_pods(agents.kubectl, agents.namespace, AGENT)
        serving = by_node(found)
        pods = [(f"nodes/{pod.node}" if serving.get(pod.node) is pod else f"pods/{pod.name}", pod) for pod in found]
        controllers = list_pods(agents.kubectl, agents.namespace, CONTROLLER)
        pods += [("controller" if len(controllers) == 1 else f"controller/{pod.name}", pod) for pod in controllers]
    except ClusterError as error:
        archive.missing.append(f"logs: {error}")
        return
    wanted = [
        (f"{directory}/{name}", pod, flags)
        for directory, pod in pods
        if not agents.nodes or directory.startswith("controller") or pod.node in agents.nodes
        for name, flags in (("log.txt", ()), *([("log-previous.txt", ("--previous",))] if pod.restarts else []))
    ]
    with ThreadPoolExecutor(PARALLEL) as pool:
        fetched = pool.map(lambda each: _log(agents, each[1], *each[2]), wanted)
        for (name, _, _), (log, problem) in zip(wanted, fetched, strict=True):
            if log is None:
                archive.missing.append(f"{name}: {problem}")
            else:
                archive.add(name, log)


def _log(agents: Agents, pod: Pod, *flags: str) -> tuple[str | None, str]:
    """Return the log of a pod, or None and the reason why there is none."""
    try:
        done = agents.kubectl.logs(agents.namespace, pod.name, f"--tail={LOG_LINES}", *flags)
    except ClusterError as error:
        return None, str(error)
    return (
        (done.output, "") if not done.code else (None, done.errors.strip() or f"kubectl exited with code {done.code}")
    )
