"""A small Hugging Face hub on this machine: repositories from folders, counted requests, and what goes wrong there."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_of_a_test"
CHUNK_BYTES = 1 << 14


@dataclass(slots=True)
class Repository:
    """One model.

    Attributes:
        revisions: commit that each branch or tag stands for.
        is_gated: whether its files need the token.
    """

    folder: Path
    revisions: dict[str, str]
    is_gated: bool = False

    def files(self) -> dict[str, Path]:
        """Its files by their name."""
        return {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}


@dataclass(slots=True)
class Hub:
    """The server's files, and what it was asked.

    Attributes:
        chunk_pause_s: seconds between two chunks of a file.
        sent: how often each file's content was asked for, and has been sent whole.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    chunk_pause_s: float = 0.0
    is_broken: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    num_requests: int = 0
    url: str = ""

    def add(self, hub_id: str, folder: Path, commit: str = "c0ffee" + "0" * 34, *, is_gated: bool = False) -> str:
        """A repository with a branch `main`; its commit."""
        self.repositories[hub_id] = Repository(folder, {"main": commit}, is_gated)
        return commit


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers at its `url`."""
    hub = Hub()
    handler = type("Bound", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.hub.num_requests += 1
        path = self.path.partition("?")[0]
        if self.hub.is_broken:
            self._refuse(503, "", "down")
            return
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|auth-check)(?:/([^/]+))?)?", path)
        if found:
            self._describe(found[1], found[2] or "revision", found[3] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send_file(*found.groups())
        else:
            self._refuse(404, "EntryNotFound", "no such page")

    def _find(self, hub_id: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(hub_id)
        if repository is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
            return None
        commits = repository.revisions
        commit = commits.get(revision) or (revision if revision in commits.values() else None)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _describe(self, hub_id: str, what: str, revision: str) -> None:
        if (found := self._find(hub_id, revision)) is None:
            return
        repository, commit = found
        files = {name: file.stat().st_size for name, file in sorted(repository.files().items())}
        if what == "tree":
            self._send_json([{"type": "file", "path": name, "size": size, "oid": "0"} for name, size in files.items()])
        elif what == "auth-check":
            if repository.is_gated and not self._has_token():
                self._refuse(403, "GatedRepo", "Access to it is restricted")
            else:
                self._send_json({})
        else:
            siblings = [{"rfilename": name, "size": size, "blobId": "0"} for name, size in files.items()]
            gated = "manual" if repository.is_gated else False
            self._send_json({"id": hub_id, "sha": commit, "gated": gated, "private": False, "siblings": siblings})

    def _send_file(self, hub_id: str, revision: str, name: str) -> None:
        if (found := self._find(hub_id, revision)) is None:
            return
        repository, commit = found
        if repository.is_gated and not self._has_token():
            self._refuse(403, "GatedRepo", "Access to it is restricted")
            return
        if (file := repository.files().get(name)) is None:
            self._refuse(404, "EntryNotFound", "no such file")
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.asked[name] += 1
        try:
            for start in range(0, len(content), CHUNK_BYTES):
                self.wfile.write(content[start : start + CHUNK_BYTES])
                time.sleep(self.hub.chunk_pause_s)
        except OSError:  # who asked was killed
            self.close_connection = True
            return
        self.hub.sent[name] += 1

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _send_json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()
