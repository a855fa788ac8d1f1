"""The server of `eibench-ray view`: pages of a store's runs for this machine's own browser, and for nobody else.

It listens on 127.0.0.1 alone. A page of another site cannot read it: requests need the cookie that only who knows the
token gets, which is sent with none of their requests (SameSite=Strict), and a `Host` that is this machine's, so that no
name of theirs that leads here is answered (DNS rebinding).

    /                     the store's runs
    /run/ID/              a run: a line that says how far it is, above its page, which is loaded anew as slices come
    /run/ID/progress      how far it is, as JSON
    /run/ID/report.html   the page; what it loads lies beside it
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import shutil
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from eibench_ray.errors import ConfigError, EibenchError
from eibench_ray.runs.page_maker import PageMaker
from eibench_ray.runs.run_page import PAGE_FILE
from eibench_ray.runs.view_pages import render_entry, render_error, render_run, render_runs

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_RUN = re.compile(r"/run/(?P<run>[\w-]{1,100})/(?P<rest>[\w./-]*)")
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
# Of pages that this server makes; a run's own page brings its policy along.
_POLICY = "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src 'self'; frame-src 'self'"


class ViewServer(ThreadingHTTPServer):
    """Listens on this machine's own address.

    Args:
        viewer: makes the pages.
        port: 0 takes a free one.

    Raises:
        ConfigError: the port is taken.
    """

    daemon_threads = True  # a page that is being made holds nobody up at the end

    def __init__(self, viewer: PageMaker, port: int = 0) -> None:
        self.viewer = viewer
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((ADDRESS, port), _ViewHandler)
        except OSError as error:
            raise ConfigError(
                f"--port {port} cannot be used ({error.strerror}): choose another; 0 takes a free one"
            ) from error

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def cookie(self) -> str:
        """The name of its cookie: browsers keep one for all ports of a machine."""
        return f"view_token_{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Tells what kept a request from being answered; a browser that has left is nobody's business."""
        if isinstance(sys.exception(), ConnectionError):
            log.debug("view: the browser has left", exc_info=True)
        else:
            log.exception("view: a request was not answered")

    def url(self, path: str = "/") -> str:
        """The address of a page with the token, for who may open it."""
        return f"http://{ADDRESS}:{self.port}{path}?token={self.token}"


class _ViewHandler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "eibench-ray", ""

    def do_GET(self) -> None:
        """Answers a request of somebody who may ask."""
        if self.headers.get("Host") not in {f"{name}:{self.server.port}" for name in (ADDRESS, "localhost")}:
            self._refuse(HTTPStatus.FORBIDDEN, "This server answers on this machine's own address only.")
            return
        asked = urlsplit(self.path)
        given = parse_qs(asked.query).get("token", [""])[0]
        if given and self._is_token(given):
            # A page that leads on, since a browser sends a strict cookie with no redirection that began elsewhere.
            cookie = f"{self.server.cookie}={given}; Path=/; HttpOnly; SameSite=Strict"
            self._send_page(render_entry(asked.path, nonce := secrets.token_hex(16)), nonce, {"Set-Cookie": cookie})
        elif not self._is_token(self._read_cookie()):
            self._refuse(
                HTTPStatus.FORBIDDEN, "Open the address that `eibench-ray view` has printed: it holds a token."
            )
        else:
            try:
                self._answer(asked.path)
            except EibenchError as error:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _answer(self, path: str) -> None:
        nonce, viewer = secrets.token_hex(16), self.server.viewer
        if path == "/":
            self._send_page(render_runs(viewer.root, viewer.list(), nonce), nonce)
            return
        found = _RUN.fullmatch(path)
        match found and (found["run"], found["rest"]):
            case (run, ""):
                self._send_page(render_run(viewer.progress(run), nonce), nonce)
            case (run, "progress"):
                self._send(json.dumps(viewer.progress(run)).encode(), "application/json")
            case (run, name):
                self._send_file(viewer.page(run), name)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _send_file(self, page: Path, name: str) -> None:
        """Sends the page, or what it loads from the folder of its data; nothing else that lies there."""
        path, data = page.parent / name, page.with_name(f"{page.stem}_data")
        if not (name == PAGE_FILE or (path.parent == data and path.suffix == ".js")) or not path.is_file():
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        with path.open("rb") as file:
            self._start(HTTPStatus.OK, _TYPES[path.suffix], path.stat().st_size)
            shutil.copyfileobj(file, self.wfile)

    def _send_page(self, text: str, nonce: str, headers: Mapping[str, str] = {}) -> None:
        policy = {"Content-Security-Policy": _POLICY.format(nonce)}
        self._send(text.encode("utf-8", "replace"), _TYPES[".html"], {**policy, **headers})

    def _send(
        self, content: bytes, kind: str, headers: Mapping[str, str] = {}, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self._start(status, kind, len(content), headers)
        self.wfile.write(content)

    def _start(self, status: HTTPStatus, kind: str, size: int, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(size), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        nonce = secrets.token_hex(16)
        policy = {"Content-Security-Policy": _POLICY.format(nonce)}
        self._send(render_error(why, nonce).encode("utf-8", "replace"), _TYPES[".html"], policy, status)

    def _read_cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Logs a request without its query, which may hold the token."""
        log.debug("view: %s", re.sub(r"\?\S*", "", format % args))
