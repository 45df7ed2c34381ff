"""The kubectl of the user, which reaches the cluster and logs in."""

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from static_route_operator.api import GROUP, VERSION
from static_route_operator.errors import UnansweredError

# Seconds to wait for an answer. An API server that does not answer is reported soon.
TIMEOUT = 30.0

_FORBIDDEN = re.compile(r"[Ff]orbidden.*?cannot (\w+) resource \"([^\"]+)\"(.*)", re.DOTALL)
_UNREACHABLE = ("refused", "timeout", "no such host", "no route to host", "tls:", "x509:", "eof")


class ClusterError(UnansweredError):
    """A request that the cluster did not answer as expected. The text has the reason and the remedy."""


class ForbiddenError(ClusterError):
    """A request for which the user lacks a right, which the text names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a program.

    Attributes:
        code: exit code.
        output: standard output.
        errors: standard error.
    """

    code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A runner of kubectl.

    Attributes:
        kubeconfig: path; empty for kubectl's default.
        context: in the kubeconfig; empty for the current one.
        program: name or path of kubectl.
    """

    kubeconfig: str = ""
    context: str = ""
    program: str = "kubectl"

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return the answer of the API server to a GET request.

        Raises:
            ClusterError: the request failed.
        """
        answer = self._run("get", "--raw", path + (f"?{urlencode(query)}" if query else ""))
        if answer.code:
            raise _error(path, answer)
        found: dict[str, Any] = json.loads(answer.output)
        return found

    def exec(self, namespace: str, pod: str, *argv: str, timeout: float = TIMEOUT, text: str = "") -> Answer:
        """Run a program in a pod.

        Args:
            namespace: of the pod.
            pod: name of the pod.
            argv: the program and its arguments.
            timeout: in seconds.
            text: standard input of the program.

        Raises:
            ForbiddenError: the user may not exec into the pod.
            ClusterError: kubectl cannot be run, or did not end in time.
        """
        flags = ["--stdin"] if text else []
        answer = self._run("exec", *flags, "-n", namespace, pod, "--", *argv, timeout=timeout, text=text)
        if answer.code and _FORBIDDEN.search(answer.errors):
            raise _error(f"exec in pod {pod}", answer)
        return answer

    def logs(self, namespace: str, pod: str, *flags: str) -> Answer:
        """Return the log of a pod."""
        return self._run("logs", "-n", namespace, pod, *flags)

    def _run(self, *argv: str, timeout: float = TIMEOUT, text: str = "") -> Answer:
        where = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        where += [f"--context={self.context}"] if self.context else []
        try:
            # kubectl has the rights of the user, and no shell is involved.
            done = subprocess.run(  # noqa: S603
                [self.program, *where, *argv],
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise ClusterError(
                f"{self.program} is not found: install it, or run this on the node with --local"
            ) from None
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"`kubectl {argv[0]}` did not end within {timeout:g} s: run it alone with -v=6 to see why"
            ) from None
        return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _error(what: str, answer: Answer) -> ClusterError:
    """Return the error for a failure of kubectl."""
    words = answer.errors.strip() or f"kubectl exited with code {answer.code}"
    if forbidden := _FORBIDDEN.search(words):
        verb, resource, where = forbidden.groups()
        return ForbiddenError(
            f"you lack the right to {verb} {resource}{where.strip() and ' ' + where.strip()}: "
            "ask for it (docs/commands.md has a ClusterRole with all rights needed)"
        )
    if GROUP in what and "could not find" in words.lower():
        return ClusterError(
            f"this cluster has no resource {what.rpartition('/')[2]}.{GROUP}/{VERSION}:"
            " install the operator, or choose another cluster with --context"
        )
    if any(each in words.lower() for each in _UNREACHABLE):
        return ClusterError(f"the API server can't be reached: {words}; is it the right cluster (--context)?")
    return ClusterError(f"{what}: {words}")
