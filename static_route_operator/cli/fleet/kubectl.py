"""The user's kubectl, which knows how to reach the cluster and how to log in."""

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from static_route_operator.api import GROUP, VERSION
from static_route_operator.errors import UnansweredError

# Seconds to wait for an answer: an API server that is away is to be told, not waited for.
TIMEOUT = 30.0

_FORBIDDEN = re.compile(r"[Ff]orbidden.*?cannot (\w+) resource \"([^\"]+)\"(.*)", re.DOTALL)
_UNREACHABLE = ("refused", "timeout", "no such host", "no route to host", "tls:", "x509:", "eof")


class ClusterError(UnansweredError):
    """The cluster did not answer as it should. The text says why, and what to do."""


class ForbiddenError(ClusterError):
    """This user may not do that; the text says which right is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said.

    Attributes:
        code: its exit code.
        output: on standard output.
        errors: on standard error.
    """

    code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """How to reach the cluster.

    Attributes:
        kubeconfig: file; empty for kubectl's own choice.
        context: in it; empty for the current one.
        program: what is run.
    """

    kubeconfig: str = ""
    context: str = ""
    program: str = "kubectl"

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """What the API server answers to a GET.

        Raises:
            ClusterError: nothing that can be used.
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
            pod: its name.
            argv: the program.
            timeout: in seconds.
            text: its standard input.

        Raises:
            ForbiddenError: this user may not.
            ClusterError: kubectl itself can't be run, or did not end in time.
        """
        flags = ["--stdin"] if text else []
        answer = self._run("exec", *flags, "-n", namespace, pod, "--", *argv, timeout=timeout, text=text)
        if answer.code and _FORBIDDEN.search(answer.errors):
            raise _error(f"exec in pod {pod}", answer)
        return answer

    def logs(self, namespace: str, pod: str, *flags: str) -> Answer:
        """The log of a pod."""
        return self._run("logs", "-n", namespace, pod, *flags)

    def _run(self, *argv: str, timeout: float = TIMEOUT, text: str = "") -> Answer:
        where = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        where += [f"--context={self.context}"] if self.context else []
        try:
            # With the rights of whoever runs this.
            done = subprocess.run(  # noqa: S603
                [self.program, *where, *argv],
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise ClusterError(
                f"{self.program} is not found: install it, or ask a host itself there with --local"
            ) from None
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"`kubectl {argv[0]}` did not end within {timeout:g} s: try it by itself, with -v=6"
            ) from None
        return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _error(what: str, answer: Answer) -> ClusterError:
    """Why kubectl failed, and what to do."""
    words = answer.errors.strip() or f"kubectl ended with code {answer.code}"
    if forbidden := _FORBIDDEN.search(words):
        verb, resource, where = forbidden.groups()
        return ForbiddenError(
            f"you lack the right to {verb} {resource}{where.strip() and ' ' + where.strip()}: "
            "ask for it (docs/commands.md has a ClusterRole with all that is needed)"
        )
    if GROUP in what and "could not find" in words.lower():
        return ClusterError(
            f"this cluster knows no {what.rpartition('/')[2]}.{GROUP}/{VERSION}:"
            " install the operator, or choose another cluster with --context"
        )
    if any(each in words.lower() for each in _UNREACHABLE):
        return ClusterError(f"the API server can't be reached: {words}; is it the right cluster (--context)?")
    return ClusterError(f"{what}: {words}")
