"""One request to a web site, and a program that makes many of them, one after another.

The program runs inside a node's network namespace, on its own: it needs nothing but Python.
"""

import dataclasses
import json
import signal
import socket
import struct
import sys
import time

TIMEOUT = 5.0  # seconds; long, so that a busy machine is not taken for a lost route

_TOTAL_RETRANSMISSIONS = struct.Struct("100xI")  # tcpi_total_retrans in the kernel's struct tcp_info


@dataclasses.dataclass(frozen=True)
class Request:
    """One request and its result.

    Attributes:
        began: when, in seconds of the clock that all processes of this machine share.
        ended: when it was answered or given up.
        answer: the address that the site saw it come from; nothing if it failed.
        failure: the kind of error; nothing if it was answered.
        connections: how many it took: a second one if the first was cut off.
        resent: how many packets were sent again because they got lost.
    """

    began: float
    ended: float
    answer: str
    failure: str
    connections: int
    resent: int


def send(address: str, timeout: float = TIMEOUT) -> Request:
    """Ask the site, on a new connection, and give up if nothing comes within the timeout.

    A connection that was cut off is replaced by a second one, as browsers do: one that was open while its route moved
    to another NAT gateway can't live on, since that gateway knows nothing of it.
    """
    began = time.monotonic()
    connections = 1
    try:
        try:
            answer, resent = _get(address, timeout)
        except (ConnectionResetError, BrokenPipeError):
            connections = 2
            answer, resent = _get(address, timeout)
    except (OSError, ValueError) as error:
        return Request(began, time.monotonic(), "", type(error).__name__, connections, 0)
    return Request(began, time.monotonic(), answer, "", connections, resent)


def _get(address: str, timeout: float) -> tuple[str, int]:
    """Return the text of the site's page, and how many packets had to be sent again."""
    with socket.create_connection((address, 80), timeout) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            head, separator, body = stream.read().partition(b"\r\n\r\n")
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANSMISSIONS.size)
    if not separator or head.split()[1:2] != [b"200"]:
        raise ValueError("this is no answer with status 200")
    return body.decode().strip(), _TOTAL_RETRANSMISSIONS.unpack(information)[0]


def main(address: str, interval: float, count: int, timeout: float) -> None:
    """Make requests, until SIGTERM comes or the count is reached, and write each as a line of JSON.

    Args:
        address: the site's.
        interval: seconds from the start of one to the start of the next.
        count: how many; 0 for no end.
        timeout: seconds without a packet after which one is given up.
    """
    stop = False

    def finish(_signum: int, _frame: object) -> None:
        nonlocal stop  # the one under way is still finished: it might be the one that fails
        stop = True

    signal.signal(signal.SIGTERM, finish)
    made = 0
    while not stop and (made < count or not count):
        request = send(address, timeout)
        print(json.dumps(dataclasses.asdict(request)), flush=True)
        made += 1
        time.sleep(max(0.0, request.began + interval - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
