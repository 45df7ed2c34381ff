"""A gateway behind a switch, which can die without a word: the node's own link stays up.

As a program, it is the web server on the gateway: a GET of ``/503`` is answered with that status.
"""

import http.server
import os
import socket
import subprocess
import sys
import time

from tests.kernel.machine import wait_until
from tests.kernel.namespaces import new_network_namespace

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


class Gateway:
    """A node, which this thread is on, with a gateway at 10.9.0.1 and fd09::1 on eth0; more addresses can be added."""

    def __init__(self) -> None:
        with new_network_namespace():
            self._server = subprocess.Popen([sys.executable, "-m", "tests.kernel.gateway"], stdout=subprocess.PIPE)
        self._run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "node"])
        self._run(["ip", "link", "set", "node", "netns", str(self._server.pid)])
        self._run(["ip", "-batch", "-"], _NODE)
        self.far("ip -batch -", _FAR)
        self.far("sysctl -qw net.ipv4.conf.all.arp_ignore=1")
        self.add(*(f"{address}/{64 if ':' in address else 24}" for address in ADDRESSES))
        wait_until(self._reachable, "the gateway answers")
        self.interface = socket.if_nametoindex("eth0")

    def add_second(self) -> None:
        """There is another gateway too, at 10.8.0.1 and fd08::1 on eth1, which never dies."""
        self._run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "gw1"])
        self._run(["ip", "link", "set", "gw1", "netns", str(self._server.pid)])
        self._run(["ip", "-batch", "-"], _SECOND)
        self.far("ip -batch -", _SECOND_FAR)

    def add(self, *prefixes: str) -> None:
        """The gateway gets further addresses, with their lengths."""
        self.far("ip -batch -", "".join(f"address add {each} dev gw0 {'nodad' * (':' in each)}\n" for each in prefixes))

    def far(self, command: str, script: str = "") -> None:
        """Run a command on the gateway."""
        self._run(["nsenter", "-t", str(self._server.pid), "-n", *command.split()], script)

    def die(self) -> float:
        """From now on nothing that is sent to it arrives, and the node's link stays up; when that was (monotonic)."""
        self.far("ip link set port down")
        return time.monotonic()

    def live(self) -> float:
        """It is back; since when (monotonic)."""
        self.far("ip link set port up")
        return time.monotonic()

    def stop(self) -> None:
        """Take it away."""
        self._server.kill()
        self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()

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


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """A prober hangs up as soon as it has seen the status."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with the status that the path asks for."""
        self.send_response(int(self.path[1:] or 200))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    _Server(("::", PORT), _Handler).serve_forever()
