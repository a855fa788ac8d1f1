"""A W&B server as far as wandb-core 0.31 asks it: runs, their history and summary, tables as artifacts. On loopback."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Run:
    """One run as the server has it.

    Attributes:
        upserts: what UpsertBucket said of it, as it came.
        history: the rows of its history.
        exit_code: None until it has ended.
    """

    upserts: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


@dataclass(slots=True)
class Faults:
    """Faults of the server.

    Attributes:
        stream: HTTP status of the requests that carry history and summary.
        upload: HTTP status of the requests that carry files.
        graphql: the operation that is refused, "*" for all.
        message: what the server says of it.
        is_silent: no request is answered.
    """

    stream: int = 200
    upload: int = 200
    graphql: str = ""
    message: str = ""
    is_silent: bool = False


class WandbServer(http.server.ThreadingHTTPServer):
    """The server; `runs` are by (project, id)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[tuple[str, str], Run] = {}
        self.files: list[str] = []
        self.faults = Faults()
        self.is_stopping = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        """Ends it, with the requests that it leaves unanswered."""
        self.is_stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no error."""

    def answer(self, operation: str, said: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        project = {"id": "m", "name": said.get("project"), "entity": {"id": "e", "name": said.get("entity") or "team"}}
        match operation:
            case "RunResumeStatus":
                return {"model": project | {"bucket": None}}
            case "UpsertBucket":
                self.run(said["project"], said["name"]).upserts.append(said)
                bucket = {"id": "b", "name": said["name"], "displayName": said["displayName"], "description": None}
                bucket |= {"config": None, "sweepName": None, "historyLineCount": 0, "project": project}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self.url}/storage/{name}"} for name in said["files"]]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "ArtifactType":
                return {"project": {"artifact": None}}
            case "CreateArtifact":
                sequence = {"id": "s", "latestArtifact": None}
                return {"createArtifact": {"artifact": {"id": "a", "state": "PENDING", "artifactSequence": sequence}}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                key = operation[0].lower() + operation[1:]
                return {key: {"artifactManifest": {"id": "am", "file": self._file("wandb_manifest.json")}}}
            case "CreateArtifactFiles":
                names = [entry["name"] for entry in said["input"]["artifactFiles"]]
                more = {"uploadMultipartUrls": None, "storagePath": "p", "artifact": {"id": "a"}}
                return {
                    "createArtifactFiles": {"files": {"edges": [{"node": self._file(name) | more} for name in names]}}
                }
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
            case "RunStoppedStatus":
                return {"project": {"run": {"stopped": False}}}
            case "Viewer":
                return {"viewer": {"id": "u", "username": "u", "entity": "team", "flags": "{}", "teams": {"edges": []}}}
        return {}

    def run(self, project: str, run_id: str) -> Run:
        """A run, which is made where there is none."""
        return self.runs.setdefault((project, run_id), Run())

    def _file(self, name: str) -> dict[str, Any]:
        return {
            "id": "f",
            "name": name,
            "displayName": name,
            "uploadUrl": f"{self.url}/storage/{name}",
            "uploadHeaders": [],
        }


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: WandbServer

    def do_POST(self) -> None:
        """GraphQL, and the stream of a run's history and summary."""
        body = self._read()
        faults = self.server.faults
        if faults.is_silent:
            self.server.is_stopping.wait()
            return
        if self.path == "/graphql":
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation) (\w+)", asked["query"])
            operation = str(asked.get("operationName") or (found and found[1]))
            if faults.graphql in (operation, "*"):
                self._reply(200, {"errors": [{"message": faults.message}], "data": None})
            else:
                self._reply(200, {"data": self.server.answer(operation, asked.get("variables") or {})})
        elif faults.stream != 200:
            self._reply(faults.stream, {"error": faults.message})
        else:
            self._stream(json.loads(body))
            self._reply(200, {})

    def do_PUT(self) -> None:
        """A file."""
        self._read()
        if self.server.faults.upload == 200:
            self.server.files.append(self.path.removeprefix("/storage/"))
        self._reply(self.server.faults.upload, {})

    def _stream(self, said: dict[str, Any]) -> None:
        _, _, _, project, run_id, _ = self.path.split("/")
        run = self.server.run(project, run_id)
        for name, part in said.get("files", {}).items():
            rows = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                run.history += rows
            elif name == "wandb-summary.json":
                run.summary = rows[-1]
        if said.get("complete"):
            run.exit_code = said.get("exitcode")

    def _read(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
