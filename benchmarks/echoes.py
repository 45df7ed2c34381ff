"""Echo requests from the machine that this runs on, every two milliseconds, and when each was answered.

`python -m benchmarks.echoes ADDRESS` sends until its input ends. Then it prints of each answered one its number, when
it was sent and when answered, in seconds of the clock that all processes of this machine share. It needs only Python.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time

INTERVAL = 0.002  # seconds
_REQUEST, _REPLY = 8, 0
_HEADER = struct.Struct(">BBHHHI")  # type, code, checksum, identifier, sequence number; and our own number
_IP_HEADER = 20  # bytes


def main(address: str) -> None:
    """Send, receive and print."""
    sent: list[float] = []
    answered: dict[int, float] = {}
    identifier = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.settimeout(0)
        started = time.monotonic()
        while sys.stdin not in (readable := select.select([sys.stdin, icmp], [], [], INTERVAL / 2)[0]):
            while len(sent) * INTERVAL <= time.monotonic() - started:
                # One that can't be sent is one without an answer.
                with contextlib.suppress(OSError):
                    icmp.sendto(_request(identifier, len(sent)), (address, 0))
                sent.append(time.monotonic())
            if icmp in readable:
                packet = icmp.recv(256)[_IP_HEADER:]
                kind, _, _, owner, _, number = _HEADER.unpack_from(packet)
                if (kind, owner) == (_REPLY, identifier):
                    answered[number] = time.monotonic()
    for number, when in sorted(answered.items()):
        print(number, sent[number], when)


def _request(identifier: int, number: int) -> bytes:
    words = (identifier, number & 0xFFFF, number)
    total = sum(struct.unpack(">6H", _HEADER.pack(_REQUEST, 0, 0, *words)))
    total = (total >> 16) + (total & 0xFFFF)
    return _HEADER.pack(_REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF, *words)


if __name__ == "__main__":
    main(sys.argv[1])
