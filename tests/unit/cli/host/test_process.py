"""The process on this host, as one asks it."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from static_route_operator.cli.host.process import NoProcessError, ask
from static_route_operator.errors import UnansweredError


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as the path says."""
        bodies = {"/good": (200, b'{"a": 1}'), "/text": (200, b"hello")}
        status, body = bodies.get(self.path, (404, b"none"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer with the question, or refuse it."""
        status = {"/wrong": 400, "/busy": 503}.get(self.path, 200)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a process that answers."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_process_is_asked(port: int) -> None:
    """The process's answer is read as JSON."""
    assert ask("127.0.0.1", port, "/good") == {"a": 1}


@pytest.mark.parametrize(
    ("path", "words"), [("/none", "does not know /none"), ("/text", "no agent answers on 127.0.0.1")]
)
def test_other_answers_are_told(port: int, path: str, words: str) -> None:
    """Another program on that port, or an older agent, is not taken for the answer."""
    with pytest.raises(NoProcessError, match=words):
        ask("127.0.0.1", port, path)


def test_silence_is_told() -> None:
    """If no process listens, the text has the address and the error."""
    with pytest.raises(NoProcessError, match=r"no agent answers on 127.0.0.1:1 \(.*refused"):
        ask("127.0.0.1", 1, "/routes")


def test_question_is_sent_along(port: int) -> None:
    """A question goes as JSON."""
    assert ask("127.0.0.1", port, "/plan", {"a": [1]}) == {"a": [1]}


@pytest.mark.parametrize("path", ["/wrong", "/busy"])
def test_refusal_is_told(port: int, path: str) -> None:
    """A refused question does not count as a missing process: the error has the process's own words."""
    with pytest.raises(UnansweredError, match="why") as caught:
        ask("127.0.0.1", port, path, {"a": "why"})
    assert not isinstance(caught.value, NoProcessError)
