"""The API server's audit log: who asked it for what, to count requests instead of guessing."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class AuditLog:
    """An audit log of all finished requests, without bodies.

    Args:
        directory: where the policy and the log go; outside the lab's own, so that it can be read when the lab is down.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._policy = directory / "audit-policy.json"
        self._log = directory / "audit.log"

    def apiserver_args(self) -> list[str]:
        """Write the policy and return the flags that switch the log on: see ``Cluster``."""
        self._directory.mkdir(parents=True, exist_ok=True)
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": "Metadata"}],
        }
        self._policy.write_text(json.dumps(policy))
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}", "--audit-log-mode=blocking"]

    def requests(self, user: str = "") -> Iterator[dict[str, Any]]:
        """Return the finished requests, oldest first, as ``audit.k8s.io/v1`` Events.

        Args:
            user: only those of this user, as in ``system:serviceaccount:static-routes:k8s-staticroute-operator``.
        """
        for line in self._log.read_text().splitlines():
            request = json.loads(line)
            if not user or request["user"]["username"] == user:
                yield request

    def writes(self, user: str = "") -> Sequence[dict[str, Any]]:
        """Return those of the requests that asked for a change."""
        return [request for request in self.requests(user) if request["verb"] in _WRITES]
