"""The part of a kubelet that the API server asks for the output of containers."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Found = tuple[Path, Callable[[], bool]]


@contextlib.contextmanager
def served_logs(
    find: Callable[[str, str, str], Found | None], certificate: tuple[Path, Path]
) -> Iterator[int]:
    """Serves the output of containers over TLS on loopback; the port.

    Args:
        find: (namespace, pod, container) -> the file of its output, and whether it still runs.
        certificate: The certificate and its key.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            parts, options = asked.path.strip("/").split("/"), parse_qs(asked.query)
            known = len(parts) == 4 and parts[0] == "containerLogs"
            if not known or (found := find(*parts[1:])) is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            with contextlib.suppress(OSError):
                for piece in pieces(*found, options):
                    self.wfile.write(piece)
                    self.wfile.flush()

        def log_message(self, *arguments: Any) -> None:
            """Says nothing: a test shows what the pods said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pieces(path: Path, runs: Callable[[], bool], options: dict[str, list[str]]) -> Iterator[bytes]:
    """A container's output as `kubectl logs` would have it, with --tail and --follow."""
    with path.open("rb") as log:
        first = log.read()
        if tail := options.get("tailLines"):
            first = b"".join(first.splitlines(keepends=True)[-int(tail[0]) or len(first) :])
        yield first
        while options.get("follow") == ["true"]:
            # asked before reading: what is written until then is read
            goes_on = runs()
            if more := log.read():
                yield more
            if not goes_on:
                return
            time.sleep(0.2)
