"""The agents of a cluster: their pods, and what they answer."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from static_route_operator.cli.fleet.kubectl import ClusterError, ForbiddenError, Kubectl

# The value of their pods' label `name`, and that of the controller's.
AGENT = "k8s-staticroute-operator"
CONTROLLER = "k8s-staticroute-operator-controller"

# So many are asked at the same time.
PARALLEL = 16
# Seconds for one: a node with 100,000 routes has much to say.
TIMEOUT = 60.0

_PROGRAM = "static-route-operator"


def json_object(text: str) -> dict[str, Any]:
    """What a verb says with ``-o json``.

    Raises:
        ValueError: it is none.
    """
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise ValueError(text)  # noqa: TRY004  as json.loads does
    return answer


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the operator.

    Attributes:
        name: its name.
        node: where it runs; empty while it has no place.
        ready: whether it is.
        trouble: why it is not, as far as the API server knows.
        restarts: of its container.
    """

    name: str
    node: str
    ready: bool
    trouble: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a node answered.

    Attributes:
        node: its name.
        answer: a JSON object, as a rule; None when there is none.
        problem: why there is none, and what to do.
    """

    node: str
    answer: Any
    problem: str = ""


def list_pods(kubectl: Kubectl, namespace: str, name: str) -> list[Pod]:
    """The pods with a label `name`, by node.

    Raises:
        ClusterError: they can't be listed.
    """
    listed = kubectl.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"name={name}")
    return sorted((_pod(each) for each in listed["items"]), key=lambda pod: (pod.node, pod.name))


def _pod(body: dict[str, Any]) -> Pod:
    status = body.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready", {}).get("status") == "True"
    containers = status.get("containerStatuses", ())
    waiting = [each["state"]["waiting"].get("reason", "") for each in containers if "waiting" in each.get("state", {})]
    told = conditions.get("Ready", {}).get("message") or status.get("message") or status.get("phase", "Unknown")
    return Pod(
        name=body["metadata"]["name"],
        node=body["spec"].get("nodeName", ""),
        ready=ready,
        trouble="" if ready else next(filter(None, waiting), told),
        restarts=sum(each.get("restartCount", 0) for each in containers),
    )


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of a cluster.

    Attributes:
        kubectl: how to reach the cluster.
        namespace: the operator's.
        nodes: the names of those that are asked; all that have an agent when there is none.
        progress: called with the number of those that have answered, and of all.
        app: what is asked, by the label of its pods: the agents, or the controller.
    """

    kubectl: Kubectl
    namespace: str
    nodes: Collection[str] = ()
    progress: Callable[[int, int], None] = lambda _done, _all: None
    app: str = AGENT

    def ask(self, *argv: str, text: str = "", parse: Callable[[str], Any] = json_object) -> Iterator[Reply]:
        """Run a verb of this program on the nodes, by exec in the agents' pods.

        Args:
            argv: the verb and its flags.
            text: its standard input.
            parse: makes the answer of what it prints; a ValueError when it is none.

        Yields:
            The replies, in the order of the nodes' names.

        Raises:
            ClusterError: nobody can be asked.
        """
        pods = {pod.node: pod for pod in list_pods(self.kubectl, self.namespace, self.app) if pod.node}
        if not pods:
            raise ClusterError(
                f"no pod of {self.app} runs in namespace {self.namespace}:"
                " install the operator, or name its namespace with -n"
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
        """What the nodes answer to ``argv --local -o json``, put together; see `ask`.

        Args:
            what: the list in their answers that is wanted.
            argv: the verb and its flags.
            text: its standard input.
        """
        replies = list(self.ask(*argv, "--local", "-o", "json", text=text))
        return {
            what: [each for reply in replies if reply.answer for each in reply.answer[what]],
            "unanswered": [{"node": reply.node, "problem": reply.problem} for reply in replies if not reply.answer],
        }

    def _ask(self, node: str, pod: Pod | None, argv: Sequence[str], text: str, parse: Callable[[str], Any]) -> Reply:
        if pod is None:
            problem = "no agent runs there: is it a node (`kubectl get nodes`), and does the DaemonSet want it?"
            return Reply(node, None, problem)
        try:
            said = self.kubectl.exec(self.namespace, pod.name, _PROGRAM, *argv, timeout=TIMEOUT, text=text)
            return Reply(node, parse(said.output))
        except ForbiddenError:
            raise
        except ClusterError as error:
            return Reply(node, None, str(error))
        except ValueError:
            words = " ".join((said.errors or said.output).split())
        if "No such command" in words or "No such option" in words:
            words = f"its agent is too old for `{argv[0]}`: upgrade the operator"
        elif not pod.ready:
            words = f"its agent is not ready ({pod.trouble}): `kubectl logs -n {self.namespace} {pod.name}`; {words}"
        return Reply(node, None, words or f"exec in pod {pod.name} ended with code {said.code} without a word")
