"""Objects of other programs on a node, many of them, of which some come and go all the time.

`python -m benchmarks.churn KIND NUMBER RATE` makes the objects in the network namespace that it is started in, and says
so. Then it changes RATE of them a second while its input says `go`, and none after `rest`, until its input ends. It
sends netlink messages of its own, since a process for each change would cost more than what is measured.
"""

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

INTERFACE = "kube-ipvs0"
# Gateways of the foreign routes, in a subnet of the node (see `tests.kernel.gateway`); they need not exist.
GATEWAYS = ("10.8.0.77", "10.8.0.78")
OUTPUT = "eth1"

# From linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/fib_rules.h and linux/veth.h.
_HEADER = struct.Struct("=IHHII")
_ERROR = 2
_REQUEST, _REPLACE, _EXCL, _CREATE = 0x1, 0x100, 0x200, 0x400
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _NEWRULE, _DELRULE = 16, 17, 20, 21, 24, 32, 33
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_UP = 0x1
_IFLA_IFNAME, _IFLA_LINKINFO, _INFO_KIND, _INFO_DATA, _VETH_PEER = 3, 18, 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_FRA_SRC, _FRA_PRIORITY, _FRA_TABLE = 2, 6, 15
_STATIC, _UNICAST, _MAIN, _LOOKUP = 4, 1, 254, 1

# Messages of one send() while the objects are made.
_BATCH = 200

# Return the messages that make the object of a number; those that change the object of a number in a certain step.
Make = Callable[[int], bytes]
Change = Callable[[int, int], bytes]


def main(kind: str, number: int, rate: float) -> None:
    """Make the objects, and change them while the input says so."""
    # The last processor is as good as any, as long as it is always the same.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with contextlib.closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)) as kernel:
        make, change = KINDS[kind]() if number else (None, None)
        for first in range(0, number if make else 0, _BATCH):
            assert make
            _send(kernel, b"".join(map(make, range(first, min(first + _BATCH, number)))))
        print("ready", flush=True)
        step, going, due = 0, False, 0.0
        while True:
            # Polled even when late: a step that takes longer than its time must not make this deaf.
            pause = max(due - time.monotonic(), 0.0) if going else None
            if select.select([sys.stdin], [], [], pause)[0]:
                if not (line := sys.stdin.readline()):
                    return
                going, due = line.strip() == "go" and change is not None, time.monotonic()
            elif change:
                _send(kernel, change(step, number))
                step, due = step + 1, due + 1 / rate


def _send(kernel: socket.socket, messages: bytes) -> None:
    kernel.send(messages)
    with contextlib.suppress(BlockingIOError):
        while answer := kernel.recv(1 << 16, socket.MSG_DONTWAIT):
            (number,) = struct.unpack_from("=i", answer, _HEADER.size)
            assert _HEADER.unpack_from(answer)[1] != _ERROR, os.strerror(-number)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _window(add: Callable[[int], bytes], delete: Callable[[int], bytes]) -> tuple[Make, Change]:
    """Return how to take the oldest object away and put another there, which keeps their number."""
    return add, lambda step, number: delete(step % (2 * number)) + add((step + number) % (2 * number))


def _addresses() -> tuple[Make, Change]:
    """Addresses on one interface, as those of kube-proxy in IPVS mode: one for each Service."""
    # Some kernels have no dummy interfaces.
    for kind in ("dummy", "bridge"):
        command = ["ip", "link", "add", INTERFACE, "type", kind]
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            break
    index = socket.if_nametoindex(INTERFACE)

    def body(each: int) -> bytes:
        address = struct.pack(">I", (10 << 24) + (96 << 16) + each + 1)
        fixed = _IFADDRMSG.pack(socket.AF_INET, 32, 0, 0, index)
        return fixed + _attribute(_IFA_LOCAL, address) + _attribute(_IFA_ADDRESS, address)

    return _window(
        lambda each: _message(_NEWADDR, _CREATE | _EXCL, body(each)), lambda each: _message(_DELADDR, 0, body(each))
    )


def _links() -> tuple[Make, Change]:
    """Pairs of virtual Ethernet links, as each pod has one."""

    def named(name: str, flags: int) -> bytes:
        return _IFINFOMSG.pack(0, 0, 0, flags, flags) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")

    def add(each: int) -> bytes:
        data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, named(f"peer{each}", 0)))
        info = _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"veth\0") + data)
        pair = _message(_NEWLINK, _CREATE | _EXCL, named(f"pod{each}", _UP) + info)
        # The kernel refuses to make a pair both ends of which are up.
        return pair + _message(_NEWLINK, 0, named(f"peer{each}", _UP))

    return _window(add, lambda each: _message(_DELLINK, 0, named(f"pod{each}", 0)))


def _rules() -> tuple[Make, Change]:
    """Policy rules, as networks that give each pod a table of its own have them."""

    def body(each: int) -> bytes:
        fixed = _RTMSG.pack(socket.AF_INET, 0, 32, 0, 0, 0, 0, _LOOKUP, 0)
        source = struct.pack(">I", (10 << 24) + (128 << 16) + each + 1)
        return fixed + _attribute(_FRA_SRC, source) + _number(_FRA_PRIORITY, 1024) + _number(_FRA_TABLE, 1000)

    return _window(
        lambda each: _message(_NEWRULE, _CREATE | _EXCL, body(each)), lambda each: _message(_DELRULE, 0, body(each))
    )


def _routes() -> tuple[Make, Change]:
    """Routes, as a routing daemon with many of them keeps them; a change moves one to another gateway."""
    index = socket.if_nametoindex(OUTPUT)

    def route(each: int, gateway: str, flags: int) -> bytes:
        body = _RTMSG.pack(socket.AF_INET, 32, 0, 0, _MAIN, _STATIC, 0, _UNICAST, 0)
        body += _attribute(_RTA_DST, struct.pack(">I", (30 << 24) + each))
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway)) + _number(_RTA_OIF, index)
        return _message(_NEWROUTE, flags, body)

    return (
        lambda each: route(each, GATEWAYS[0], _CREATE | _EXCL),
        lambda step, number: route(step % number, GATEWAYS[1 - step // number % 2], _REPLACE),
    )


KINDS: dict[str, Callable[[], tuple[Make, Change]]] = {
    "addresses": _addresses,
    "links": _links,
    "rules": _rules,
    "routes": _routes,
}


class Churn:
    """Such a process, on the node that this thread is on.

    Args:
        kind: a key of `KINDS`.
        number: number of objects; 0 for none.
        rate: steps a second.
    """

    def __init__(self, kind: str, number: int, rate: float) -> None:
        command = [sys.executable, "-m", "benchmarks.churn", kind, str(number), str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", f"{kind} could not be made"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Let objects come and go inside the context."""
        self._say("go")
        try:
            yield
        finally:
            self._say("rest")
            assert self._process.poll() is None, "the changes have failed"

    def stop(self) -> None:
        """End the process; its objects stay."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
