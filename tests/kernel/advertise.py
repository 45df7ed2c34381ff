"""A router that advertises itself once (RFC 4861, RFC 4191): python3 -m tests.kernel.advertise INTERFACE ADDRESS WORDS.

The packet leaves by INTERFACE, the other end of the link of the machine that receives it, from the link-local ADDRESS.

WORDS:
    lifetime SECONDS              of the default route; 0 withdraws it. Default: 1800.
    preference high|medium|low    of the default route.
    route PREFIX high|medium|low SECONDS    a route information option.
    prefix PREFIX SECONDS         a prefix information option: the prefix is on the link, and for addresses.
    host                          a neighbour advertisement instead: the node is a router no longer.
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

PREFERENCES = {"medium": 0, "high": 1, "low": 3}
ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
ICMPV6 = 58


def main(interface: str, address: str, words: Sequence[str]) -> None:
    """Send one advertisement."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((interface, 0))
        hardware = link.getsockname()[4]
        source = ipaddress.IPv6Address(address).packed
        message = _neighbour(source, hardware) if "host" in words else _router(iter(words), hardware)
        header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255) + source + ALL_NODES
        message = message[:2] + _checksum(source, message) + message[4:]
        link.send(b"\x33\x33\0\0\0\1" + hardware + b"\x86\xdd" + header + message)


def _router(words: Iterator[str], hardware: bytes) -> bytes:
    lifetime, preference = 1800, "medium"
    options = struct.pack("!BB", 1, 1) + hardware
    for word in words:
        if word == "lifetime":
            lifetime = int(next(words))
        elif word == "preference":
            preference = next(words)
        elif word == "route":
            prefix = ipaddress.IPv6Network(next(words))
            how = PREFERENCES[next(words)] << 3
            options += struct.pack("!BBBBI", 24, 3, prefix.prefixlen, how, int(next(words)))
            options += prefix.network_address.packed
        elif word == "prefix":
            prefix, seconds = ipaddress.IPv6Network(next(words)), int(next(words))
            options += struct.pack("!BBBBIII", 3, 4, prefix.prefixlen, 0xC0, seconds, seconds, 0)
            options += prefix.network_address.packed
        else:
            raise SystemExit(f"'{word}' is not known; {__doc__}")
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, PREFERENCES[preference] << 3, lifetime, 0, 0) + options


def _neighbour(source: bytes, hardware: bytes) -> bytes:
    override = 1 << 29
    return struct.pack("!BBHI", 136, 0, 0, override) + source + struct.pack("!BB", 2, 1) + hardware


def _checksum(source: bytes, message: bytes) -> bytes:
    data = source + ALL_NODES + struct.pack("!II", len(message), ICMPV6) + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
