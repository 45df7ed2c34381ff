"""The kubectl of the user, which reaches the cluster and logs in."""

import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlencode

from static_route_operator.api import GROUP, VERSION
from static_route_operator.errors import UnansweredError

# Seconds to wait for an answer. An API server that does not answer is reported soon.
TIMEOUT = 30.0

# Bytes of output that are read. 400,000 routes with their differences take about 100 MiB.
MAX_OUTPUT = 256 << 20
# Seconds between looks at the size of the output.
_LOOK = 0.5

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
        try:
            found = json.loads(answer.output)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            start = " ".join(answer.output[:200].split())
            raise ClusterError(f"{path}: the answer is no JSON object, but begins with '{start}': is it an API server?")
        return found

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return the objects of a list of the API server.

        Raises:
            ClusterError: the request failed.
        """
        found = self.get(path, **query).get("items")
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise ClusterError(f"{path}: the answer has no list of objects: is it an API server?")
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
        """Return the log of a pod.

        Raises:
            ClusterError: kubectl cannot be run, or did not end in time.
        """
        return self._run("logs", "-n", namespace, pod, *flags)

    def _run(self, *argv: str, timeout: float = TIMEOUT, text: str = "") -> Answer:
        where = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        where += [f"--context={self.context}"] if self.context else []
        # Files take any amount of input and output without a thread for each.
        with tempfile.TemporaryFile() as input_, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            input_.write(text.encode())
            input_.seek(0)
            try:
                # kubectl has the rights of the user, and no shell is involved.
                process = subprocess.Popen(  # noqa: S603
                    [self.program, *where, *argv], stdin=input_, stdout=output, stderr=errors
                )
            except FileNotFoundError:
                raise ClusterError(
                    f"{self.program} is not found: install it, or run this on the node with --local"
                ) from None
            except OSError as error:
                raise ClusterError(f"{self.program} can't be run: {error.strerror}") from None
            with process:
                try:
                    code = _wait(process, output, argv[0], timeout)
                finally:
                    process.kill()
            if _size(output) > MAX_OUTPUT:
                raise ClusterError(f"`kubectl {argv[0]}` answered with more than {MAX_OUTPUT >> 20} MiB")
            return Answer(code, *(_read(each) for each in (output, errors)))


def _wait(process: "subprocess.Popen[bytes]", output: IO[bytes], verb: str, timeout: float) -> int:
    """Return the exit code of a process when it ends, or when it has written more than is read.

    Raises:
        ClusterError: it did not end in time.
    """
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            return process.wait(min(left, _LOOK))
        except subprocess.TimeoutExpired:
            if _size(output) > MAX_OUTPUT:
                return -1
    raise ClusterError(f"`kubectl {verb}` did not end within {timeout:g} s: run it alone with -v=6 to see why")


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MAX_OUTPUT).decode(errors="replace")


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
