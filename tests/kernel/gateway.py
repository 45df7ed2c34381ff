"""A gateway behind a switch, which can die silently: the node's own link stays up.

As a program, it is the web server on the gateway: a GET of ``/503`` is answered with that status.
"""

import asyncio
import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time

from tests.kernel.machine import wait_until
from tests.kernel.namespaces import network_namespace_of, new_network_namespace

ADDRESSES = ("10.9.0.1", "fd09::1")
PORT = 8080

_NODE = """
link set lo up
link set eth0 addrgenmode none
link set eth0 up
address add 10.9.0.2/24 dev eth0
address add fd09::2/64 dev eth0 nodad
"""
_SECOND = """
link set eth1 addrgenmode none
link set eth1 up
address add 10.8.0.2/24 dev eth1
address add fd08::2/64 dev eth1 nodad
"""
_SECOND_FAR = """
link set gw1 addrgenmode none
link set gw1 up
address add 10.8.0.1/24 dev gw1
address add fd08::1/64 dev gw1 nodad
"""
# The gateway's address is not the switch's, though both are in one namespace.
_FAR = """
link set lo up
link add switch type bridge
link add gw0 type veth peer name port
link set switch addrgenmode none
link set gw0 addrgenmode none
link set port addrgenmode none
link set node addrgenmode none
link set node master switch
link set port master switch
link set node up
link set port up
link set gw0 up
link set switch up
"""

# linux/if_bridge.h.
_PORT_STATES = {"disabled": 0, "forwarding": 3}


class Gateway:
    """A node, which this thread is on, with a gateway at 10.9.0.1 and fd09::1 on eth0; more addresses can be added."""

    def __init__(self) -> None:
        with new_network_namespace():
            self._server = subprocess.Popen([sys.executable, "-m", "tests.kernel.gateway"], stdin=subprocess.PIPE)
        self._run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "node"])
        self._run(["ip", "link", "set", "node", "netns", str(self._server.pid)])
        self._run(["ip", "-batch", "-"], _NODE)
        self.far("ip -batch -", _FAR)
        self.far("sysctl -qw net.ipv4.conf.all.arp_ignore=1")
        self.add(*(f"{address}/{64 if ':' in address else 24}" for address in ADDRESSES))
        # Lives on, so that to cut the wire takes no longer than to say so.
        self._wire = subprocess.Popen(
            [*self._nsenter(), "nice", "-n", "-20", "bridge", "-force", "-batch", "-"], stdin=subprocess.PIPE, bufsize=0
        )
        wait_until(self._reachable, "the gateway answers")
        self.interface = socket.if_nametoindex("eth0")

    def add_second(self) -> None:
        """Add another gateway, at 10.8.0.1 and fd08::1 on eth1, which never dies."""
        self._run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "gw1"])
        self._run(["ip", "link", "set", "gw1", "netns", str(self._server.pid)])
        self._run(["ip", "-batch", "-"], _SECOND)
        self.far("ip -batch -", _SECOND_FAR)

    def add(self, *prefixes: str) -> None:
        """Give the gateway further addresses, with their lengths."""
        self.far("ip -batch -", "".join(f"address add {each} dev gw0 {'nodad' * (':' in each)}\n" for each in prefixes))

    def far(self, command: str, script: str = "") -> None:
        """Run a command on the gateway."""
        self._run([*self._nsenter(), *command.split()], script)

    def run(self, command: str) -> None:
        """Run a command on the node."""
        self._run(shlex.split(command))

    def enter(self) -> contextlib.AbstractContextManager[None]:
        """Move this thread to the gateway inside the context: for opening sockets and starting programs there."""
        return network_namespace_of(self._server.pid)

    def _nsenter(self) -> list[str]:
        return ["nsenter", "-t", str(self._server.pid), "-n"]

    def die(self) -> float:
        """Drop all packets to the gateway from now on, with the node's link up; return the time (monotonic)."""
        return self._set_wire("disabled")

    def live(self) -> float:
        """Bring the gateway back; return the time (monotonic)."""
        return self._set_wire("forwarding")

    def _set_wire(self, state: str) -> float:
        assert self._wire.stdin is not None
        when = time.monotonic()
        self._wire.stdin.write(f"link set dev port state {_PORT_STATES[state]}\n".encode())
        return when

    def stop(self) -> None:
        """Remove the gateway."""
        assert self._wire.stdin is not None
        self._wire.stdin.close()
        self._wire.wait()
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    @staticmethod
    def _reachable() -> bool:
        for address in ADDRESSES:
            try:
                socket.create_connection((address, PORT), timeout=1).close()
            except OSError:
                return False
        return True

    @staticmethod
    def _run(command: list[str], script: str = "") -> None:
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A prober hangs up as soon as it has seen the status; one that a death cut off never does, until this program ends.
    with contextlib.suppress(OSError, EOFError, IndexError, asyncio.CancelledError):
        request = await reader.readuntil(b"\r\n\r\n")
        status = request.split()[1].lstrip(b"/") or b"200"
        writer.write(b"HTTP/1.1 " + status + b" Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


async def _main() -> None:
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(_serve, sock=listener, backlog=1024)
    # It ends with whoever started it.
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    # The code under test should be the bottleneck.
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    asyncio.run(_main())
