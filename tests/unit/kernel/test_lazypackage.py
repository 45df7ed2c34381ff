"""Packages whose modules are imported without all the rest."""

import subprocess
import sys

import pytest

_RUN = """
import sys
from static_route_operator.kernel import netlink
assert netlink.AsyncNetlinkSocket.__module__ == "pyroute2.netlink.nlsocket"
{}
"""


@pytest.mark.parametrize(
    "statements",
    [
        "assert 'pyroute2.iproute' not in sys.modules and 'pyroute2.ndb' not in sys.modules",
        "from pyroute2 import IPRoute; assert IPRoute.__module__.startswith('pyroute2.')",
        "import pyroute2; assert 'IPRoute' in dir(pyroute2) or pyroute2.IPRoute",
        "import pyroute2.iproute; import pyroute2; assert pyroute2.IPRoute",
    ],
    ids=["only what runs is loaded", "a name of the package", "the package", "another module"],
)
def test_package_is_loaded_when_it_is_asked(statements: str) -> None:
    """The sockets come without the rest of pyroute2, which comes as soon as somebody wants it."""
    done = subprocess.run([sys.executable, "-c", _RUN.format(statements)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_package_that_was_loaded_before_stays() -> None:
    """A process that uses all of pyroute2 goes on doing so."""
    code = "import pyroute2; before = pyroute2.IPRoute" + _RUN.format("assert pyroute2.IPRoute is before")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
