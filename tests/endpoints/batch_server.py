"""The fault server with a batch endpoint: files and batches as OpenAI has them, with failures that a test asks for.

    with BatchServer() as server:
        server.decide = lambda body, seen: None            # what becomes of a line: here it gets no line at all
        server.faults["create"] = [500, "lost"]            # what the next calls suffer
        server.paid                                        # per text: how often a line with it was executed

It runs in a thread of the test's own process: a test reads and changes it as it goes, and it outlives the engines that
are killed under it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import File, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse
from fault_replies import answer_to, completion, error, text_of
from fault_server import FaultServer

Json = dict[str, Any]
# What becomes of a line: (status, body), an error of the batch's own as (code, message), or no line at all.
Fate = tuple[int, Json] | tuple[str, str] | None


def answer(body: Json, seen: int) -> Fate:  # noqa: ARG001 - the same, however often it is asked
    """Answer that follows from the request."""
    return 200, completion(body, answer_to(body))


class BatchServer(FaultServer):
    """The provider, and what a test may do to it.

    Attributes:
        decide: what becomes of a line, given its body and how often a line with its text was decided before.
        is_held: batches stay in progress for as long as this is set.
        ends: how the next batches end: `completed`, `expired`, `cancelled`, or (code, message) of a failed validation.
        max_running: a batch beyond so many fails as OpenAI fails it.
        faults: what the next calls of an endpoint (`upload`, `create`, `list`, `retrieve`, `content`) suffer: a status
            instead of the work; `lost`: the work is done and its answer is not sent; `page`: a proxy's page instead.
        hooks: called before an endpoint's work (`create`), or after it and before its answer (`create_done`).
        paid: how often each text was executed.
        calls: how often each endpoint was called.
        keys: what came in the Authorization headers.
        files, batches: what it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._work = threading.Lock()
        self.app.post("/v1/files")(self._upload)
        self.app.get("/v1/files/{file_id}/content")(self._content)
        self.app.post("/v1/batches")(self._create)
        self.app.get("/v1/batches")(self._list)
        self.app.get("/v1/batches/{batch_id}")(self._retrieve)
        self.app.exception_handler(HTTPException)(_show)
        self.reset()

    def reset(self) -> None:
        """As it was at first."""
        self.decide: Callable[[Json, int], Fate] = answer
        self.is_held = False
        self.ends: list[str | tuple[str, str]] = []
        self.max_running: int | None = None
        self.most_running = 0
        self.faults: defaultdict[str, list[int | str]] = defaultdict(list)
        self.hooks: dict[str, Callable[[], object]] = {}
        self.paid: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self._seen: Counter[str] = Counter()

    @property
    def uploads(self) -> list[list[Json]]:
        """The lines that were uploaded, file by file."""
        return [_read(content) for name, content in self.files.items() if name.startswith("input")]

    @property
    def num_running(self) -> int:
        """Batches that have not ended."""
        return sum(batch["status"] == "in_progress" for batch in self.batches.values())

    def _upload(self, request: Request, file: Annotated[UploadFile, File()], purpose: Annotated[str, Form()]) -> Any:
        content = file.file.read()

        def work() -> Json:
            name = f"input-{len(self.files)}"
            self.files[name] = content
            told = {"id": name, "object": "file", "bytes": len(content), "created_at": int(time.time())}
            return told | {"filename": file.filename, "purpose": purpose, "status": "processed"}

        return self._call("upload", request, work)

    def _create(self, request: Request, wanted: Json) -> Any:
        def work() -> Json:
            batch = {"id": f"batch-{len(self.batches)}", "object": "batch", "created_at": int(time.time())}
            batch |= wanted | {"status": "in_progress", "end": self.ends.pop(0) if self.ends else "completed"}
            self.batches[batch["id"]] = batch
            if self.max_running is not None and self.num_running > self.max_running:
                batch["end"] = ("token_limit_exceeded", "Enqueued token limit reached for tiny.")
            if isinstance(batch["end"], tuple):
                code, message = batch["end"]
                batch |= {"status": "failed", "errors": {"data": [{"code": code, "message": message}]}}
            self.most_running = max(self.most_running, self.num_running)
            return batch

        return self._call("create", request, work)

    def _list(self, request: Request, after: str | None = None, limit: int = 20) -> Any:
        def work() -> Json:
            newest = list(reversed(self.batches.values()))
            start = next((number for number, batch in enumerate(newest, start=1) if batch["id"] == after), 0)
            has_more = start + limit < len(newest)
            return {"object": "list", "data": newest[start : start + limit], "has_more": has_more}

        return self._call("list", request, work)

    def _retrieve(self, request: Request, batch_id: str) -> Any:
        def work() -> Json:
            batch = self.batches.get(batch_id)
            if batch is None:
                raise HTTPException(404, f"no batch found with id '{batch_id}'")
            if batch["status"] == "in_progress" and not self.is_held:
                self._execute(batch)
            return batch

        return self._call("retrieve", request, work)

    def _content(self, request: Request, file_id: str) -> Any:
        def work() -> Response:
            if file_id not in self.files:
                raise HTTPException(404, f"no such file: {file_id}")
            return Response(self.files[file_id], media_type="application/octet-stream")

        return self._call("content", request, work)

    def _call(self, endpoint: str, request: Request, work: Callable[[], Any]) -> Any:
        """One call of an endpoint, with the fault that awaits it."""
        with self._work:
            self.calls[endpoint] += 1
            self.keys.add(key := request.headers.get("authorization", ""))
            fault = self.faults[endpoint].pop(0) if self.faults[endpoint] else None
        self.hooks.get(endpoint, _nothing)()
        if isinstance(fault, int):
            raise HTTPException(fault, f"{endpoint} fails for {key}")
        if fault == "page":
            return HTMLResponse("<html><body>We are back soon.</body></html>")
        with self._work:
            result = work()
        self.hooks.get(f"{endpoint}_done", _nothing)()
        if fault == "lost":
            raise HTTPException(504, "the answer is lost")
        return result

    def _execute(self, batch: Json) -> None:
        """Decides every line of a batch at once, and ends it."""
        found: dict[str, list[Json]] = {"output": [], "error": []}
        for line in _read(self.files[batch["input_file_id"]]):
            text = text_of(line["body"])
            fate = self.decide(line["body"], self._seen[text])
            self._seen[text] += 1
            ended: Json = {"id": f"batch_req_{text}", "custom_id": line["custom_id"], "response": None, "error": None}
            match fate:
                case (int(status), body):
                    self.paid[text] += status == 200
                    ended["response"] = {"status_code": status, "request_id": "r", "body": body}
                    found["output" if status == 200 else "error"].append(ended)
                case (str(code), message):
                    ended["error"] = {"code": code, "message": message}
                    found["error"].append(ended)
        for kind, lines in found.items():
            if lines:
                batch[f"{kind}_file_id"] = f"{kind}-of-{batch['id']}"
                self.files[batch[f"{kind}_file_id"]] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        total, completed = sum(map(len, found.values())), len(found["output"])
        batch["request_counts"] = {"total": total, "completed": completed, "failed": total - completed}
        batch["status"] = batch["end"]


def _nothing() -> None:
    pass


def _read(content: bytes) -> list[Json]:
    return [json.loads(line) for line in content.split(b"\n") if line]


async def _show(_: Request, raised: Exception) -> Response:
    assert isinstance(raised, HTTPException)
    return JSONResponse(error(str(raised.detail)), raised.status_code)
