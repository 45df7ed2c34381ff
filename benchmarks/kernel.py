"""The kernel at speed and against drift, side by side with others that do the same: the tables of docs/performance.md.

`python -m benchmarks.kernel [--write] [PART…]`, as root, from the root of the project. Without `--write` it only
prints. Everything happens in throw-away network namespaces.
"""

import argparse

from benchmarks import drift, loss, speed
from benchmarks.tables import machine, publish, table

ROUNDS = {2_000: 7, 100_000: 5, 500_000: 3}
SWITCHES = {2_000: 6, 100_000: 2}
REPAIRED = (2_000, 100_000)


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    parser.add_argument("--most", type=int, default=max(ROUNDS), metavar="N", help="measure up to N routes")
    parser.add_argument("parts", nargs="*", metavar="PART", help="speed, resync, loss or drift; all unless given")
    arguments = parser.parse_args()
    parts = arguments.parts or ["speed", "resync", "loss", "drift"]
    write = arguments.write
    rounds = {number: each for number, each in ROUNDS.items() if number <= arguments.most}
    publish("machine", machine(), write=write)
    if "speed" in parts:
        by_number = {}
        for number, each in rounds.items():
            by_number[number] = speed.measure(number, each)
            publish(f"speed at {number}", speed.speeds(number, each, by_number[number]), write=write)
        publish("growth", speed.growth(by_number), write=write)
    if "resync" in parts:
        rows = [speed.resync(number, each) for number, each in rounds.items()]
        publish("resync", table(speed.RESYNC_HEAD, rows), write=write)
    if "loss" in parts:
        switches = {number: each for number, each in SWITCHES.items() if number <= arguments.most}
        publish("loss", loss.losses(switches), write=write)
    if "drift" in parts:
        rows = [row for number in REPAIRED if number <= arguments.most for row in drift.repairs(number)]
        publish("drift", table(drift.HEAD, rows), write=write)


if __name__ == "__main__":
    main()
