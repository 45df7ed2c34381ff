"""A network namespace for each test; the scenarios are tests too."""

from collections.abc import AsyncIterator, Iterator

import pytest

from static_route_operator.api.nodeselector import Node
from static_route_operator.kernel.fib import Fib
from tests.kernel.engine import Engine
from tests.kernel.gateway import Gateway
from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace
from tests.kernel.remover import Remover
from tests.kernel.scenario.collection import pytest_collect_file

__all__ = ["pytest_collect_file"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Return a machine of the test's own, which this process is on."""
    with new_network_namespace():
        machine = Machine()
        machine.set_up()
        yield machine


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Return two gateways of a node of the test's own, which this process is on."""
    with new_network_namespace():
        gateway = Gateway()
        gateway.add_second()
        yield gateway
        gateway.stop()


@pytest.fixture
async def fib(machine: Machine) -> AsyncIterator[Fib]:
    """Return the forwarding tables of that machine."""
    fib = Fib()
    yield fib
    fib.close()


@pytest.fixture
async def engine(machine: Machine) -> AsyncIterator[Engine]:
    """Return a running reconciler on that machine, with an empty inventory that is not complete yet."""
    engine = Engine(machine, Node("node1", {"zone": "a"}))
    engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def remover(machine: Machine) -> Iterator[Remover]:
    """Return another program that changes routes of that machine."""
    remover = Remover()
    yield remover
    remover.stop()
