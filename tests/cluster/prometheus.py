"""A Prometheus as a process beside the API server, with the rules of the monitoring component in fast motion."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.agent import ROOT, eventually
from tests.lab import programs
from tests.lab.cluster import Cluster

MONITORING = ROOT / "deploy/components/monitoring"
PORT = 9090

# An hour of the rules lasts a minute here.
HASTE = 60
SCRAPE = "1s"

_DURATION = re.compile(r"\b(\d+)m\b")


def rules() -> dict[str, Any]:
    """Return the rules of the component, in the form of a file for Prometheus."""
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
    return spec


def hastened(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules with each duration in minutes made `HASTE` times shorter."""

    def shorter(value: Any) -> Any:
        if isinstance(value, str):
            return _DURATION.sub(lambda match: f"{int(match.group(1)) * 60 // HASTE}s", value)
        return value

    return {
        "groups": [
            {
                "name": group["name"],
                "rules": [
                    {key: shorter(value) if key in {"expr", "for"} else value for key, value in rule.items()}
                    for rule in group["rules"]
                ],
            }
            for group in spec["groups"]
        ]
    }


class Prometheus:
    """Prometheus, scraping as the PodMonitors would have it.

    Args:
        cluster: a bare one.
        directory: for its files.
        targets: addresses with ports by job and node.
    """

    def __init__(self, cluster: Cluster, directory: Path, targets: Mapping[tuple[str, str], str]) -> None:
        self._cluster = cluster
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        jobs = {job for job, _ in targets}
        config = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": each,
                    "static_configs": [
                        {"targets": [target], "labels": {"node": node}}
                        for (job, node), target in targets.items()
                        if job == each
                    ],
                }
                for each in sorted(jobs)
            ],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        (directory / "rules.yaml").write_text(yaml.safe_dump(hastened(rules())))

    def start(self) -> None:
        """Start Prometheus and wait until it answers."""
        command = [
            programs.find("prometheus"),
            f"--config.file={self._directory}/prometheus.yaml",
            f"--storage.tsdb.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{PORT}",
        ]
        with (self._directory / "prometheus.log").open("w") as log:
            self._process = self._cluster.popen_in("cp", command, stderr=log)
        eventually("Prometheus is ready", lambda: "is Ready" in self._get("/-/ready"), 60)

    def kill(self) -> None:
        """Kill Prometheus."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now.

        Raises:
            AssertionError: Prometheus does not take it; with its words.
        """
        answer = json.loads(self._get("/api/v1/query", "--data-urlencode", f"query={expression}"))
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire, each with its node, or else its gateway."""
        alerts = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        return {
            (labels["alertname"], labels.get("node", labels.get("gateway", "")))
            for labels in (alert["labels"] for alert in alerts if alert["state"] == "firing")
        }

    def _get(self, path: str, *options: str) -> str:
        argv = ["curl", "-s", "-m", "10", *(["-G", *options] if options else []), f"http://127.0.0.1:{PORT}{path}"]
        return self._cluster.run_in("cp", argv, check=False).stdout
