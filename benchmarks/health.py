"""Gateways that die, that are probed and that share traffic: the tables about them in docs/performance.md.

`python -m benchmarks.health [--write] [--trials N] [PART…]`, as root, from the root of the project. Without `--write`
it only prints. Everything happens in throw-away network namespaces.
"""

import argparse
from collections.abc import Callable

from benchmarks.detection import detection
from benchmarks.failover import failovers
from benchmarks.probing import cost, soak
from benchmarks.shares import shares
from benchmarks.tables import machine, publish
from tests.kernel.gateway import Gateway
from tests.kernel.namespaces import new_network_namespace

PARTS: dict[str, Callable[[Gateway, int], str]] = {
    "failover": failovers,
    "detection": detection,
    "shares": shares,
    "cost": cost,
    "soak": soak,
}


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="deaths per figure (default: 10)")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all unless given")
    arguments = parser.parse_args()
    publish("machine for gateways", machine(), write=arguments.write)
    for part in arguments.parts or PARTS:
        with new_network_namespace():
            gateway = Gateway()
            gateway.add_second()
            try:
                publish(part, PARTS[part](gateway, arguments.trials), write=arguments.write)
            finally:
                gateway.stop()


if __name__ == "__main__":
    main()
