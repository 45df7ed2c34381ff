"""A web site that answers with the caller's address, as ifconfig.me does: it shows which way a packet went."""

import http.server
import socket

PORT = 80


class Handler(http.server.BaseHTTPRequestHandler):
    """A handler that answers one connection."""

    def do_GET(self) -> None:
        """Answer with the caller's address and a newline."""
        body = f"{self.client_address[0].removeprefix('::ffff:')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server that listens on all addresses, IPv6 and IPv4."""

    address_family = socket.AF_INET6
    request_queue_size = 1024  # a burst of callers is not to be mistaken for a lost route

    def server_bind(self) -> None:
        """Bind to both families, whatever this machine's default is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


if __name__ == "__main__":
    Server(("::", PORT), Handler).serve_forever()
