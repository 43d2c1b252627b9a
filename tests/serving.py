"""A small file server on 127.0.0.1, for tests of downloads: nothing here ever asks the real network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, and what was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path → content."""
    cut: dict[str, int] = field(default_factory=dict)
    """Path → bytes after which the connection ends."""
    moved: dict[str, str] = field(default_factory=dict)
    """Path → where it redirects to."""
    asked: list[str] = field(default_factory=list)
    """Paths in the order they were asked for."""
    chunked: bool = False
    """Send no Content-Length."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server that is gone when the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path in state.moved:
                self.send_response(302)
                self.send_header("Location", state.moved[self.path])
                self.end_headers()
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            data = state.files[self.path]
            self.send_response(200)
            if not state.chunked:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: state.cut.get(self.path, len(data))])

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
