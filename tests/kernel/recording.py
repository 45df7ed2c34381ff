"""Messages of the real kernel, recorded on a machine with a little of everything.

`python -m tests.kernel.recording`, as root, from the root of the project, writes them to tests/unit/kernel/recordings,
where the unit tests read them. Each file has the messages of one kind as the kernel sent them, one after the other.
Nothing here uses the code under test.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.machine import Machine
from tests.kernel.namespaces import new_network_namespace

DIRECTORY = Path(__file__).parents[1] / "unit/kernel/recordings"

# From linux/rtnetlink.h and linux/netlink.h.
_RTM_GET = {"links": 18, "addresses": 22, "routes": 26, "neighbours": 30, "rules": 34}
_NLMSG_DONE = 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_HEADER = struct.Struct("=IHHII")
# Links, neighbours, IPv4 addresses, routes and rules, those of IPv6, and nexthop objects.
_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 31
_SO_RCVBUFFORCE = 33
# Bytes of receive buffer, and of one datagram at most.
_BUFFER = 8 << 20
_SIZE = 1 << 17

_BUSY = """
link add br0 type bridge
link add port0 type veth peer name pod0
link set port0 master br0
link set port0 up
link set pod0 up
link set br0 up mtu 9000
link add vxlan7 type vxlan id 7 dstport 4789 remote 10.0.0.9 local 10.0.0.2
link set vxlan7 up
link add macvlan0 link eth1 type macvlan mode bridge
link property add dev eth1 altname enp0s31f6
tuntap add tun0 mode tun
link set tun0 alias uplink
address add 10.0.0.3/24 dev eth0 label eth0:1
address add 10.7.0.1 peer 10.7.0.9/32 dev tun0
address add 10.64.64.64 peer 0.0.0.0 dev tun0
address add 10.8.0.0/31 dev br0 scope link metric 50
address add 10.9.0.1/16 dev br0 noprefixroute valid_lft 3600 preferred_lft 1800
address add fd00:9::1/64 dev br0 nodad valid_lft 3600 preferred_lft 0
address add fe80::9/64 dev eth1 nodad
rule add from 10.7.0.0/16 lookup 100 priority 100
rule add fwmark 0x100/0xff00 iif eth0 lookup 200 priority 101
rule add to 192.0.2.0/24 oif eth1 blackhole priority 102
rule add ipproto tcp dport 80-443 sport 1024-2048 lookup 70000 priority 103
rule add uidrange 1000-2000 goto 32766 priority 104
rule add not from all fwmark 7 lookup main suppress_prefixlength 0 priority 105
rule add tos 0x10 prohibit priority 106
rule add l3mdev priority 1000
neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud reachable
neigh add 10.0.0.7 dev eth0 nud failed
neigh add fd00::1 lladdr 02:00:00:00:00:02 dev eth0 nud permanent router
neigh add fd00::7 dev eth0 nud failed
neigh add proxy 10.0.0.99 dev eth1
nexthop add id 7 via 10.1.0.1 dev eth1
nexthop add id 8 via 10.0.0.1 dev eth0
nexthop add id 9 group 7,3/8
route add 198.51.100.0/24 via 10.0.0.1 proto 245
route add 198.51.100.7 via 10.0.0.1 proto 245
route add 198.51.100.8 via 10.0.0.3 proto static metric 50 mtu 1400 initcwnd 10 congctl cubic
route add 203.0.113.0/24 proto 245 nexthop via 10.0.0.1 weight 3 nexthop via 10.1.0.1
route add 203.0.113.1 nhid 9
route add default via 10.0.0.1 proto dhcp src 10.0.0.2 metric 100
route add blackhole 192.0.2.0/28 proto 245
route add throw 192.0.2.16/28 table 100
route add 192.0.2.32/28 via inet6 fd00::1 dev eth0
route add 192.0.2.64/28 via 10.99.0.1 dev eth0 onlink tos 0x10
route add 2001:db8::/48 via fd00::1 proto 245
route add 2001:db8::1 via fd00::1 proto 245 metric 50
route add 2001:db8:1::/48 proto 245 nexthop via fd00::1 nexthop via fd00:1::1 weight 2
route add default via fd00::1 proto ra metric 200 expires 600 pref high
route add unreachable 2001:db8:2::/48
route add 2001:db8:3::/48 via fd00::1 table 100 from 2001:db8:7::/48
"""
_BUSY_IPV6 = """
rule add from fd00:7::/48 lookup 100 priority 100 protocol 245
rule add iif eth1 unreachable priority 101
"""
_CHANGES = """
link set eth1 down
address del 10.0.0.3/24 dev eth0
rule del priority 106
neigh change 10.0.0.1 dev eth0 nud failed
route del 198.51.100.7 proto 245
nexthop del id 8
link set port0 nomaster
link del macvlan0
link set eth1 up
"""


class Recorder:
    """Sockets of our own to the kernel of the machine that this thread is on."""

    def __init__(self) -> None:
        self._requests = _open()
        self._notifications = _open(_GROUPS)

    def close(self) -> None:
        """Close both."""
        self._requests.close()
        self._notifications.close()

    def dump(self, kind: str) -> list[bytes]:
        """Return the messages of one kind of object, without that which ends the dump."""
        body = bytes(16 if kind == "links" else 12)
        header = _HEADER.pack(16 + len(body), _RTM_GET[kind], _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
        self._requests.send(header + body)
        found: list[bytes] = []
        while not found or _kind(found[-1]) != _NLMSG_DONE:
            found += split(self._requests.recv(_SIZE))
        return found[:-1]

    def notifications(self) -> list[bytes]:
        """Return the notifications that have come since the last call."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += split(self._notifications.recv(_SIZE, socket.MSG_DONTWAIT))
        return found


def _open(groups: int = 0) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    opened.bind((0, groups))
    return opened


def _kind(message: bytes) -> int:
    kind: int = _HEADER.unpack_from(message)[1]
    return kind


def split(datagram: bytes) -> list[bytes]:
    """Return the messages of a datagram with their headers, each padded to a multiple of 4 bytes."""
    found, offset = [], 0
    while offset < len(datagram):
        length = (_HEADER.unpack_from(datagram, offset)[0] + 3) & ~3
        found.append(datagram[offset : offset + length].ljust(length, b"\0"))
        offset += length
    return found


def record() -> dict[str, list[bytes]]:
    """Return the dumps of each kind, and the notifications, of a machine on which all this happens."""
    with new_network_namespace(), contextlib.closing(Recorder()) as recorder:
        machine = Machine()
        machine.set_up()
        machine.ip(*_BUSY.strip().splitlines())
        machine.ip(*_BUSY_IPV6.strip().splitlines(), ipv6=True)
        found = {kind: recorder.dump(kind) for kind in _RTM_GET}
        machine.ip(*_CHANGES.strip().splitlines())
        return {**found, "notifications": recorder.notifications()}


def recorded() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the recordings in the files, by kind."""
    for file in sorted(DIRECTORY.glob("*.bin")):
        yield file.stem, split(file.read_bytes())


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, messages in record().items():
        (DIRECTORY / f"{name}.bin").write_bytes(b"".join(messages))
        print(f"{len(messages)} {name}")
