"""A store in a bucket: a real S3 server on loopback (moto's), which refuses, drops and delays on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Literal

from pyarrow import fs

from bench.chaos.kinds import Kind, Moment, Place, Scene

Trouble = Literal["busy", "cut", "slow"]
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_SLOW_S = 1.0
_BUCKET = "chaos"


class ObjectStore:
    """The server. While it is troubled, a share of its requests goes wrong.

    Attributes:
        num_troubled: requests that went wrong so far.
        environment: how it is reached.
    """

    def __init__(self, seed: int) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):
            """Says nothing of requests that go wrong on purpose."""

            def log(self, type: str, message: str, *args: object) -> None:  # noqa: ARG002
                return

        self._app: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
        self._random = Random(seed)
        self._trouble: Trouble | None = None
        self._share = 0.0
        self.num_troubled = 0
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=Quiet)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="object store").start()
        self.environment = {
            "AWS_ACCESS_KEY_ID": "a chaos run's key",
            "AWS_SECRET_ACCESS_KEY": "a chaos run's secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.port}",
        }

    def trouble(self, trouble: Trouble | None, share: float = 0.0) -> None:
        """Makes a share of all requests go wrong from now on; None ends it."""
        self._trouble, self._share = trouble, share

    def connect(self) -> fs.S3FileSystem:
        """Arrow's view of it."""
        return fs.S3FileSystem(
            access_key=self.environment["AWS_ACCESS_KEY_ID"],
            secret_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=f"127.0.0.1:{self._server.port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()

    def _serve(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        trouble = self._trouble
        if trouble is None or self._random.random() >= self._share:
            return self._app(environ, start_response)
        self.num_troubled += 1
        if trouble == "slow":
            time.sleep(self._random.uniform(0.1, _SLOW_S))
            return self._app(environ, start_response)
        if trouble == "cut":
            environ["werkzeug.socket"].close()
            raise ConnectionError("cut on purpose")
        environ["wsgi.input"].read()  # what is not read would be taken for the next request
        start_response("503 Service Unavailable", [("Content-Type", "application/xml")])
        return [_BUSY]


class Bucket(Place):
    """A store's prefix in the server's bucket."""

    def __init__(self, server: ObjectStore) -> None:
        self.server = server
        self._service = server.connect()
        self._service.create_dir(_BUCKET)
        self.root = f"s3://{_BUCKET}/store"

    def count_slices(self) -> int:
        """Committed slices of all steps."""
        return sum(Path(info.path).name.startswith("slice-") for info in self._list())

    def fetch(self, folder: Path) -> Path:
        """A copy of the store."""
        for info in self._list():
            target = folder / Path(info.path).relative_to(_BUCKET)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._service.open_input_file(info.path) as source:
                target.write_bytes(source.read())
        return folder / "store"

    def _list(self) -> list[Any]:
        selector = fs.FileSelector(f"{_BUCKET}/store", allow_not_found=True, recursive=True)
        return [info for info in self._service.get_file_info(selector) if info.type == fs.FileType.File]


class _Trouble(Kind):
    """A share of the requests to the object store goes wrong for some seconds."""

    moment = Moment.DURING
    trouble: Trouble
    share: float

    def inject(self, scene: Scene) -> bool:
        """Whether requests went wrong, at least three."""
        assert isinstance(scene.place, Bucket)
        server, before = scene.place.server, scene.place.server.num_troubled
        server.trouble(self.trouble, self.share)
        try:
            deadline = time.monotonic() + 20.0
            while scene.is_running and server.num_troubled < before + 3 and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(scene.random.uniform(0.5, 2.0))
        finally:
            server.trouble(None)
        return server.num_troubled >= before + 3


class Busy(_Trouble):
    """503, slow down."""

    name = "storage_503"
    trouble, share = "busy", 0.5


class Cut(_Trouble):
    """The connection is closed without an answer."""

    name = "storage_cut"
    trouble, share = "cut", 0.3


class Slow(_Trouble):
    """Answers come late."""

    name = "storage_slow"
    trouble, share = "slow", 0.7
