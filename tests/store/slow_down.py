"""A proxy before an S3 server that answers some requests with 503, or with nothing."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
# What belongs to one connection, and not to what travels over both.
_HOP = {"content-length", "transfer-encoding", "connection", "date", "server", "expect"}


class SlowDown:
    """Passes requests on, but for those that `fault` names.

    Args:
        port: the server's.
        fault: "busy" for a 503, "cut" to close the connection after the request was read, None to pass it on; it is
            given the method and the path.
    """

    def __init__(self, port: int, fault: Callable[[str, str], str | None]) -> None:
        self.requests: list[str] = []
        self.num_bytes = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self._read_body()
                with proxy._lock:
                    proxy.requests.append(f"{self.command} {self.path}")
                    wrong = fault(self.command, self.path)
                if wrong == "cut":
                    self.close_connection = True
                    return
                if wrong == "busy":
                    self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port)
                sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                upstream.request(self.command, self.path, body, sent)
                reply = upstream.getresponse()
                content = reply.read()
                kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in _HOP]
                length = reply.getheader("Content-Length")
                with proxy._lock:
                    proxy.num_bytes += len(content)
                self._answer(reply.status, kept, content, length if self.command == "HEAD" else None)
                upstream.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

            def _read_body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
