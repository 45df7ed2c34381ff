"""The agents of a cluster, their pods and their replies."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError, Kubectl

# Values of the label `name` of the pods.
AGENT = "k8s-staticroute-operator"
CONTROLLER = "k8s-staticroute-operator-controller"

# Number of nodes that are asked at the same time.
PARALLEL = 16
# Seconds to wait for a node: the answer with 100,000 routes takes several.
TIMEOUT = 60.0

_PROGRAM = "static-route-operator"


def json_object(text: str) -> dict[str, Any]:
    """Parse the output of a verb with ``-o json``.

    Raises:
        ValueError: the text is not a JSON object.
    """
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise ValueError(text)  # noqa: TRY004  as json.loads does
    return answer


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the operator.

    Attributes:
        node: empty until the pod is scheduled.
        trouble: reason why the pod is not ready, as far as the API server knows.
        restarts: of the container.
    """

    name: str
    node: str
    ready: bool
    trouble: str
    restarts: int


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


def list_pods(kubectl: Kubectl, namespace: str, name: str) -> list[Pod]:
    """Return the pods with a label `name`, sorted by node.

    Raises:
        ClusterError: the pods cannot be listed.
    """
    listed = kubectl.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"name={name}")
    return sorted((_pod(each) for each in listed["items"]), key=lambda pod: (pod.node, pod.name))


def _pod(body: dict[str, Any]) -> Pod:
    status = body.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready", {}).get("status") == "True"
    containers = status.get("containerStatuses", ())
    waiting = [each["state"]["waiting"].get("reason", "") for each in containers if "waiting" in each.get("state", {})]
    message = conditions.get("Ready", {}).get("message") or status.get("message") or status.get("phase", "Unknown")
    return Pod(
        name=body["metadata"]["name"],
        node=body["spec"].get("nodeName", ""),
        ready=ready,
        trouble="" if ready else next(filter(None, waiting), message),
        restarts=sum(each.get("restartCount", 0) for each in containers),
    )


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

        Args:
            argv: the verb and its flags.
            text: standard input of the verb.
            parse: makes an answer from the output; raises ValueError if the output is not one.

        Yields:
            The replies, sorted by the names of the nodes.

        Raises:
            ClusterError: no node can be asked.
        """
        pods = {pod.node: pod for pod in list_pods(self.kubectl, self.namespace, self.app) if pod.node}
        if not pods:
            raise ClusterError(
                f"no pod of {self.app} runs in namespace {self.namespace}:"
                " install the operator, or set its namespace with -n"
            )
        desired = sorted(self.nodes or pods)
        self.progress(0, len(desired))
        with ThreadPoolExecutor(PARALLEL) as pool:
            asked = [pool.submit(self._ask, node, pods.get(node), argv, text, parse) for node in desired]
            try:
                for done, future in enumerate(asked, 1):
                    yield future.result()
                    self.progress(done, len(desired))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def gather(self, what: str, *argv: str, text: str = "") -> dict[str, Any]:
        """Collect the answers of the nodes to ``argv --local -o json``; see `ask`.

        Args:
            what: key of the lists in the answers that are joined.
            argv: the verb and its flags.
            text: standard input of the verb.
        """
        replies = list(self.ask(*argv, "--local", "-o", "json", text=text))
        return {
            what: [each for reply in replies if reply.answer for each in reply.answer[what]],
            "unanswered": [{"node": reply.node, "problem": reply.problem} for reply in replies if not reply.answer],
        }

    def _ask(self, node: str, pod: Pod | None, argv: Sequence[str], text: str, parse: Callable[[str], Any]) -> Reply:
        if pod is None:
            problem = "no agent runs there: is it a node (`kubectl get nodes`), and does the DaemonSet select it?"
            return Reply(node, None, problem)
        try:
            done = self.kubectl.exec(self.namespace, pod.name, _PROGRAM, *argv, timeout=TIMEOUT, text=text)
            return Reply(node, parse(done.output))
        except ForbiddenError:
            raise
        except ClusterError as error:
            return Reply(node, None, str(error))
        except ValueError:
            words = " ".join((done.errors or done.output).split())
        if "No such command" in words or "No such option" in words:
            words = f"the agent is too old for `{argv[0]}`: upgrade the operator"
        elif not pod.ready:
            words = f"the agent is not ready ({pod.trouble}): `kubectl logs -n {self.namespace} {pod.name}`; {words}"
        return Reply(node, None, words or f"exec in pod {pod.name} exited with code {done.code} and no output")
