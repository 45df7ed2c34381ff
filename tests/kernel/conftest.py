"""A network namespace for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from static_route_operator.kernel.fib import Fib
from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of the test's own, which this process is on."""
    with new_network_namespace():
        machine = Machine()
        machine.set_up()
        yield machine


@pytest.fixture
async def fib(machine: Machine) -> AsyncIterator[Fib]:
    """The forwarding tables of that machine."""
    fib = Fib()
    yield fib
    fib.close()
