"""The agents of a cluster, their pods and their replies.

No node disappears from an answer: the nodes to ask are those that the API server knows, and each that does not answer
has a reply with the reason.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from static_route_operator import __version__
from static_route_operator.api import GROUP, VERSION
from static_route_operator.api.noderoutestate import PLURAL as STATES
from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError, Kubectl

# Values of the label `name` of the pods.
AGENT = "k8s-staticroute-operator"
CONTROLLER = "k8s-staticroute-operator-controller"

# Number of nodes that are asked at the same time.
PARALLEL = 16
# Seconds to wait for a node: the answer with 100,000 routes takes several.
TIMEOUT = 60.0
# Seconds to wait for a node that is NotReady, which seldom answers.
TIMEOUT_NOT_READY = 10.0
# Seconds to wait for all nodes together.
DEADLINE = 300.0
# Characters of a reply that are shown when it can't be read.
_EXCERPT = 300

# Node label with the operating system: the agents run on Linux alone.
_OS = "kubernetes.io/os"

_PROGRAM = "static-route-operator"


def json_object(text: str) -> dict[str, Any]:
    """Parse the output of a verb with ``-o json``.

    Raises:
        ValueError: the text is not a JSON object.
    """
    try:
        answer = json.loads(text)
    except RecursionError:
        raise ValueError(text) from None
    if not isinstance(answer, dict):
        raise ValueError(text)  # noqa: TRY004  as json.loads does
    return answer


class OtherVersionError(ValueError):
    """An answer that this version of the program can't show."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the operator.

    Attributes:
        node: name of the node that the pod runs on, or is meant for; empty if neither is known.
        running: the pod has been started on its node.
        deleting: the pod is being deleted.
        trouble: reason why the pod is not ready, as far as the API server knows.
        restarts: of the container.
    """

    name: str
    node: str
    ready: bool
    trouble: str
    restarts: int
    running: bool = True
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a node.

    Attributes:
        answer: None if the node did not answer.
        problem: reason why the node did not answer, and the remedy.
    """

    node: str
    answer: Any
    problem: str = ""


def list_nodes(kubectl: Kubectl) -> dict[str, str]:
    """Return the names of the Linux nodes, each with the reason why it is not Ready; empty for one that is.

    Raises:
        ClusterError: the nodes cannot be listed.
    """
    found = {}
    for each in kubectl.items("/api/v1/nodes"):
        metadata = each.get("metadata", {})
        if metadata.get("labels", {}).get(_OS, "linux") == "linux":
            ready = _conditions(each).get("Ready", {})
            why = ready.get("message") or ready.get("reason") or "it has not reported"
            found[str(metadata.get("name"))] = "" if ready.get("status") == "True" else f"the node is NotReady: {why}"
    return found


def list_pods(kubectl: Kubectl, namespace: str, name: str) -> list[Pod]:
    """Return the pods with a label `name`, sorted by node.

    Raises:
        ClusterError: the pods cannot be listed.
    """
    listed = kubectl.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"name={name}")
    return sorted(map(_pod, listed), key=lambda pod: (pod.node, pod.name))


def by_node(pods: Sequence[Pod]) -> dict[str, Pod]:
    """Return the pod of each node: of several, that which answers best."""
    worst_first = sorted(pods, key=lambda pod: (not pod.deleting, pod.running, pod.ready, pod.name))
    return {pod.node: pod for pod in worst_first if pod.node}


def _conditions(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each.get("type", ""): each for each in body.get("status", {}).get("conditions") or ()}


def _pod(body: dict[str, Any]) -> Pod:
    status, spec, metadata = body.get("status", {}), body.get("spec", {}), body.get("metadata", {})
    conditions = _conditions(body)
    ready = conditions.get("Ready", {}).get("status") == "True"
    containers = status.get("containerStatuses") or ()
    waiting = [
        each["state"]["waiting"].get("reason", "") for each in containers if "waiting" in (each.get("state") or {})
    ]
    unscheduled = conditions.get("PodScheduled", {}).get("message", "") if "nodeName" not in spec else ""
    phase = status.get("phase", "Unknown")
    message = conditions.get("Ready", {}).get("message") or status.get("message") or phase
    deleting = "deletionTimestamp" in metadata
    return Pod(
        name=str(metadata.get("name")),
        node=spec.get("nodeName") or _meant_for(spec),
        ready=ready,
        trouble=""
        if ready
        else next(filter(None, [*waiting, unscheduled, "being deleted" if deleting else ""]), message),
        restarts=sum(each.get("restartCount", 0) for each in containers),
        running=phase == "Running",
        deleting=deleting,
    )


def _meant_for(spec: Mapping[str, Any]) -> str:
    """Return the node that a DaemonSet made a pod for; empty if unknown."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and len(field.get("values") or ()) == 1:
                return str(field["values"][0])
    return ""


@dataclass(frozen=True, slots=True)
class _Target:
    """A node to ask.

    Attributes:
        node: name of the node in the reply.
        pod: the pod to ask; None without one.
        trouble: reason why the node is not Ready, or why it has no pod; empty for neither.
    """

    node: str
    pod: Pod | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of a cluster.

    Attributes:
        namespace: of the operator.
        nodes: names of the nodes to ask; empty for all nodes that have an agent.
        progress: called with the number of nodes that have answered, and of all nodes that are asked.
        app: value of the label `name` of the pods to ask: `AGENT` or `CONTROLLER`.
    """

    kubectl: Kubectl
    namespace: str
    nodes: Collection[str] = ()
    progress: Callable[[int, int], None] = lambda _done, _all: None
    app: str = AGENT

    def ask(self, *argv: str, text: str = "", parse: Callable[[str], Any] = json_object) -> Iterator[Reply]:
        """Run a verb of this program on the nodes, by exec in the pods of the agents.

        Nodes that are NotReady are asked last, so that they hold up no other one.

        Args:
            argv: the verb and its flags.
            text: standard input of the verb.
            parse: makes an answer from the output; raises ValueError if the output is not one.

        Yields:
            A reply for each node, sorted by the names of the nodes.

        Raises:
            ClusterError: no node can be asked.
        """
        targets = self._targets()
        deadline = time.monotonic() + DEADLINE
        self.progress(0, len(targets))
        with ThreadPoolExecutor(PARALLEL) as pool:
            asked = {
                target.node: pool.submit(self._ask, target, argv, text, parse, deadline)
                for target in sorted(targets, key=lambda target: bool(target.trouble))
            }
            try:
                for done, target in enumerate(targets, 1):
                    yield asked[target.node].result()
                    self.progress(done, len(targets))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def gather(
        self,
        what: str,
        *argv: str,
        text: str = "",
        view: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _answer: (),
    ) -> dict[str, Any]:
        """Collect the answers of the nodes to ``argv --local -o json``; see `ask`.

        Args:
            what: key of the lists in the answers that are joined.
            argv: the verb and its flags.
            text: standard input of the verb.
            view: shows an answer. An answer that it can't show counts as none: it is of another version.
        """

        def parse(output: str) -> list[Any]:
            answer = json_object(output)
            found = answer.get(what)
            if not isinstance(found, list):
                raise ValueError(output)  # noqa: TRY004  as json.loads does
            check(view, {what: found, "unanswered": []})
            return found

        replies = list(self.ask(*argv, "--local", "-o", "json", text=text, parse=parse))
        return {
            what: [_of(reply.node, each) for reply in replies if reply.answer is not None for each in reply.answer],
            "unanswered": [{"node": reply.node, "problem": reply.problem} for reply in replies if reply.answer is None],
        }

    def _targets(self) -> list[_Target]:
        """Return the nodes to ask, sorted by name.

        Raises:
            ClusterError: no node can be asked.
        """
        pods = list_pods(self.kubectl, self.namespace, self.app)
        if not pods:
            raise ClusterError(
                f"no pod of {self.app} runs in namespace {self.namespace}:"
                " install the operator, or set its namespace with -n"
            )
        if self.app != AGENT:
            return self._pods_as_targets(pods)
        known, unknown = self._known_nodes()
        here = by_node(pods)
        # A pod may outlive its node, or be meant for one that is gone.
        there = known.keys() | here.keys() if unknown else known.keys()
        targets = [_Target(node, here.get(node), known.get(node, "")) for node in sorted(set(self.nodes) or there)]
        return targets if self.nodes or not unknown else [*targets, _Target("other nodes", None, unknown)]

    def _pods_as_targets(self, pods: Sequence[Pod]) -> list[_Target]:
        several = len(pods) > len({pod.node for pod in pods})
        targets = [
            _Target(f"{pod.node or 'no node'} ({pod.name})" if several else pod.node or pod.name, pod)
            for pod in pods
            if not self.nodes or pod.node in self.nodes
        ]
        without = set(self.nodes) - {pod.node for pod in pods}
        return targets + [_Target(node, None, f"no pod of {self.app} runs there") for node in sorted(without)]

    def _known_nodes(self) -> tuple[dict[str, str], str]:
        """Return the nodes with their troubles, and the reason why there may be others."""
        try:
            return list_nodes(self.kubectl), ""
        except ClusterError as error:
            # Without the right to list nodes, those with a pod or a report are known.
            why = f"nodes without an agent are not known: {error}"
        with contextlib.suppress(ClusterError):
            return {
                each["metadata"]["name"]: "" for each in self.kubectl.items(f"/apis/{GROUP}/{VERSION}/{STATES}")
            }, why
        return {}, why

    def _ask(
        self, target: _Target, argv: Sequence[str], text: str, parse: Callable[[str], Any], deadline: float
    ) -> Reply:
        pod, node = target.pod, target.node
        if pod is None:
            problem = "no agent runs there: is it a node (`kubectl get nodes`), and does the DaemonSet select it?"
            return Reply(node, None, target.trouble or problem)
        if not pod.running:
            words = f"the agent's pod {pod.name} does not run ({pod.trouble})"
            return Reply(node, None, _joined(target.trouble, words))
        left = min(TIMEOUT_NOT_READY if target.trouble else TIMEOUT, deadline - time.monotonic())
        if left <= 0:
            return Reply(node, None, f"not asked: the other nodes took {DEADLINE:g} s; ask it alone with --node {node}")
        try:
            done = self.kubectl.exec(self.namespace, pod.name, _PROGRAM, *argv, timeout=left, text=text)
        except ForbiddenError:
            raise
        except ClusterError as error:
            return Reply(node, None, _joined(target.trouble, _state(pod), str(error)))
        try:
            return Reply(node, parse(done.output))
        except OtherVersionError as error:
            return Reply(node, None, str(error))
        except ValueError:
            words = " ".join((done.errors or done.output).split())
        words = words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]}…"
        if "No such command" in words or "No such option" in words:
            words = f"the agent is too old for `{argv[0]}`: upgrade the operator"
        elif not pod.ready:
            logs = f"`kubectl logs -n {self.namespace} {pod.name}`"
            words = _joined(f"the agent is not ready ({pod.trouble}): {logs}", words)
        words = words or f"exec in pod {pod.name} exited with code {done.code} and no output"
        return Reply(node, None, _joined(target.trouble, words))


def check(view: Callable[[Mapping[str, Any]], Iterable[str]], answer: Mapping[str, Any]) -> None:
    """Check that a view can show the answer of an agent, which may be of another version.

    Raises:
        OtherVersionError: it can't.
    """
    try:
        for _ in view(answer):
            pass
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise OtherVersionError(
            f"its answer has another form than version {__version__} of this program knows ({error!r}): use one version"
        ) from error


def _of(node: str, answer: Any) -> Any:
    """Return the answer of a node under the name by which it was asked, whatever it calls itself."""
    return answer | {"node": node} if isinstance(answer, dict) and "node" in answer else answer


def _state(pod: Pod) -> str:
    return "" if pod.ready else f"the agent is not ready ({pod.trouble})"


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))
