"""Packets that are lost while all routes move from one gateway to another."""

import time

from benchmarks.contender import Contender, at_work
from benchmarks.ours import Agent
from benchmarks.peers import Bird, Frr, FrrInTwoFiles, IpBatch
from benchmarks.stream import Gateway, Stream, node_with_gateways
from benchmarks.tables import table
from benchmarks.testbed import GATEWAYS, destinations

CONTENDERS: tuple[type[Contender], ...] = (Agent, IpBatch, Bird, Frr, FrrInTwoFiles)
STREAMED = 64  # destinations
_MARGIN = 0.3  # seconds of the stream before and after a switch


def losses(numbers: dict[int, int]) -> str:
    """Return the table, for a number of switches by number of routes."""
    rows = []
    for contender in CONTENDERS:
        cells = [contender.name]
        for number, switches in numbers.items():
            if missing := contender.missing():
                cells.append(f"{missing} is not installed")
            elif number > contender.most:
                cells.append("")
            else:
                cells.append(_lost(contender, number, switches))
        rows.append(cells)
    return table(["lost of packets sent", *(f"{n:,} routes, {k} switches" for n, k in numbers.items())], rows)


def _lost(contender: type[Contender], number: int, switches: int) -> str:
    targets = destinations(number)
    lost = sent = 0
    with node_with_gateways() as gateways, at_work(contender, targets) as one:
        one.install(GATEWAYS[0])
        for turn in range(1, switches + 1):
            stream = Stream(targets[:: number // STREAMED][:STREAMED])
            time.sleep(_MARGIN)
            one.switch(GATEWAYS[turn % 2])
            time.sleep(_MARGIN)
            count = stream.stop()
            lost += count - len(_arrived(gateways))
            sent += count
    return f"{lost:,} of {sent:,}"


def _arrived(gateways: list[Gateway]) -> set[int]:
    first, second = (gateway.received() for gateway in gateways)
    assert first, "nothing has arrived at one of the gateways"
    assert second, "nothing has arrived at one of the gateways"
    return first | second
