"""A gateway dies silently: how long a pod on a real kubelet goes without answers, and what its return costs.

`python -m benchmarks.outage [--write] [--trials N]`, as root, from the root of the project. Without `--write` it only
prints. Three kubelets, the operator from its image, a StaticRoute of 2,000 destinations and two gateways. The first one
drops all packets; links and ARP stay up.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.detection import LEARNING
from benchmarks.tables import duration, median_of, publish, table
from benchmarks.testbed import destinations
from static_route_operator.api import API_VERSION
from static_route_operator.health.detector import FIRST_SAMPLES
from tests.e2e.conftest import enter_pod, install, own_routes
from tests.lab.cluster import Cluster
from tests.lab.commands import wait_until
from tests.lab.network import SITES
from tests.lab.release import image_archive
from tests.lab.stream import Enter

INTERVALS = (0.01, 0.1, 1.0)
ROUTES = 2_000
SITE = SITES[0]
FIRST, SECOND = "10.116.0.5", "10.116.0.12"
NODES = ("node1", "node2", "node3")
ECHOES = Path(__file__).with_name("echoes.py")
_MARGIN = 0.5  # seconds of the stream after what happens
_PATIENCE = 60.0
_NAME = "staticroute/sites"


class Echo(NamedTuple):
    """An echo request that was answered: its number, when it was sent, and when answered."""

    number: int
    sent: float
    answered: float


class Echoes:
    """A stream of echo requests to the site.

    Args:
        enter: the way into the pod.
    """

    def __init__(self, enter: Enter) -> None:
        command = [str(each) for each in enter([sys.executable, "-I", ECHOES, SITE])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self) -> list[Echo]:
        """End it; the answered ones."""
        lines = self._process.communicate()[0].splitlines()
        return [Echo(int(number), float(sent), float(answered)) for number, sent, answered in map(str.split, lines)]


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="deaths per figure (default: 10)")
    arguments = parser.parse_args()
    lab = Cluster("sroutage", len(NODES))
    lab.down()
    archive = image_archive()
    with lab:
        lab.load_image(archive)
        install(lab)
        publish("outage", outages(lab, arguments.trials), write=arguments.write)


def outages(lab: Cluster, trials: int) -> str:
    """Return the table."""
    enter = enter_pod(lab)
    # Another threshold starts new probers, which have no memory of earlier failures and so no hold-down.
    thresholds = itertools.cycle((2, 3))
    rows = []
    for interval in INTERVALS:
        found = [_trial(lab, enter, interval, next(thresholds)) for _ in range(trials)]
        gaps, lost = zip(*found, strict=True)
        each = ", ".join(f"{gap * 1000:.0f}" for gap in sorted(gaps))
        rows.append([f"{duration(interval)} x 3", median_of(gaps), each, str(sum(lost))])
    return table(["probes", "without answers", "each, ms", "lost when the gateway came back"], rows)


def _trial(lab: Cluster, enter: Enter, interval: float, threshold: int) -> tuple[float, int]:
    """Seconds without answers, and how many requests had none since the gateway came back."""
    check = {"interval": f"{interval * 1000:g}ms", "successThreshold": threshold}
    gateways = [{"address": FIRST}, {"address": SECOND, "priority": 1}]
    spec = {"destinations": [SITE, *destinations(ROUTES)], "gateways": gateways, "healthCheck": check}
    body = {"apiVersion": API_VERSION, "kind": "StaticRoute", "metadata": {"name": "sites"}, "spec": spec}
    lab.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(body))
    lab.kubectl("wait", "--for=condition=Ready", _NAME, "--timeout=120s")
    _wait_for_routes(lab, FIRST)
    time.sleep(1 + LEARNING + (FIRST_SAMPLES + 1) * interval)
    stream = Echoes(enter)
    time.sleep(_MARGIN + random.uniform(0, interval))  # noqa: S311  the phase, no secret
    lab.silence("gw1")
    _wait_for_routes(lab, SECOND)
    time.sleep(_MARGIN)
    lab.end_silence("gw1")
    back = time.monotonic()
    _wait_for_routes(lab, FIRST)
    time.sleep(_MARGIN)
    echoes = stream.stop()
    before = [each for each in echoes if each.sent < back]
    gap = max(later.answered - earlier.sent for earlier, later in itertools.pairwise(before))
    after = echoes[len(before) :]
    return gap, after[-1].number - after[0].number + 1 - len(after)


def _wait_for_routes(lab: Cluster, gateway: str) -> None:
    def led() -> bool:
        return all(set(own_routes(lab, node).values()) == {gateway} for node in NODES)

    wait_until(led, f"all routes lead through {gateway}", timeout=_PATIENCE)


if __name__ == "__main__":
    main()
