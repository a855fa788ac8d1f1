"""Real servers for S3 and GCS on loopback, and buckets in them."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of moto's server, which keeps its buckets in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def s3_root(s3_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The root of a store in a new bucket; the environment says how to reach it."""
    # Commands of later tests would look for their runs in the bucket, too: 6 s, when its server is gone.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a test's key",
        "AWS_SECRET_ACCESS_KEY": "a test's secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{secrets.token_hex(4)}"
    service = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{s3_port}", scheme="http", allow_bucket_creation=True)
    service.create_dir(bucket)
    return f"s3://{bucket}/sweeps/store"


@pytest.fixture(scope="session")
def gcs_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of fake-gcs-server, which speaks GCS's protocol as Google's own client expects it."""
    if (program := shutil.which("fake-gcs-server")) is None:
        pytest.skip("needs fake-gcs-server (github.com/fsouza/fake-gcs-server) on the PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    url, folder = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("gcs")
    where = ["-host", "127.0.0.1", "-port", str(port), "-external-url", url, "-filesystem-root", str(folder)]
    server = subprocess.Popen(
        [program, "-scheme", "http", *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def gs_root(gcs_port: int) -> str:
    """The root of a store in a new bucket of GCS."""
    options = {"endpoint_override": f"127.0.0.1:{gcs_port}", "scheme": "http", "anonymous": True}
    bucket = f"bucket-{secrets.token_hex(4)}"
    fs.GcsFileSystem(project_id="a-test", **options).create_dir(bucket)
    return f"gs://{bucket}/sweeps/store?endpoint_override=127.0.0.1:{gcs_port}&scheme=http&anonymous=true"
