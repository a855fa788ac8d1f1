"""The last lines that a process of Ray's has written, without secrets, kept where its run keeps everything.

A replica writes its mark as its first line: a file of its node's logs that begins with it is the replica's, whatever
Ray calls it, also when the replica is dead. What its engine starts writes there, too.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from eibench_ray.engines.api_key import HIDDEN
from eibench_ray.visible_text import in_page

# The environment variable that every process of a replica inherits.
MARK = "EIBENCH_REPLICA"
LOGS_FOLDER = "logs"
# Enough for the tracebacks of an engine and of its process, and small in a folder that is kept.
MAX_LINES = 200
MAX_BYTES = 64 << 10
# The marks stand within the first bytes; Ray writes a line or two before.
_HEAD_BYTES = 16 << 10
# More dead replicas than this say nothing new: the newest are kept.
MAX_FILES = 50
_RAYS_OWN = ("gcs_server.*", "raylet.*", "monitor.*")
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
_SHORTEST_SECRET = 8
_SHAPES = re.compile(
    r"(?i:(?<=bearer )[^\s\"',}\]]+)|\b(?:sk|hf|gsk|ghp|xox[abp])[-_][\w.\-]{6,}|\bAKIA[0-9A-Z]{16}\b"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def write_mark() -> None:
    """Writes the mark of this replica's process into its log."""
    if mark := os.environ.get(MARK):
        sys.stderr.write(f"{MARK}={mark}\n")
        sys.stderr.flush()


def logs_here() -> Path | None:
    """The folder of Ray's logs on this node."""
    import ray._private.worker

    node = ray._private.worker._global_node
    return Path(node.get_logs_dir_path()) if node is not None else None


def read_last_lines(mark: str) -> str:
    """Last lines of the process with a mark on this node, without secrets; empty where it left no log."""
    logs = logs_here()
    for err in sorted(logs.glob("worker-*.err")) if logs else ():
        if f"{MARK}={mark}\n".encode() in _read(err, _HEAD_BYTES):
            return "".join(_sections((err, err.with_suffix(".out")), os.environ))
    return ""


def keep_rays_lines(logs: Path, folder: Path) -> list[Path]:
    """Files with the last lines of Ray's own processes, written into a folder."""
    paths = []
    for pattern in _RAYS_OWN:
        for path in sorted(logs.glob(pattern)):
            if text := "".join(_sections((path,), os.environ)):
                paths.append(keep(folder / f"ray-{path.name}.log", text))
    return paths


def keep(path: Path, text: str) -> Path:
    """Writes kept lines; of the files beside it the newest stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    files = sorted(path.parent.glob("replica-*.log"), key=lambda one: one.stat().st_mtime)
    for old in files[:-MAX_FILES]:
        old.unlink(missing_ok=True)
    return path


def scrub(text: str, environ: Mapping[str, str]) -> str:
    """A text without what the environment names as secret, in plain, in base64 or in hex, and without what looks so."""
    for secret in sorted(_secrets(environ), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _SHAPES.sub(HIDDEN, text)


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        value = value.strip()
        # What names a file is no secret, and neither is "token" itself, as a mode.
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET and not value.startswith("/"):
            raw = value.encode()
            yield value
            yield raw.hex()
            yield base64.b64encode(raw).decode().rstrip("=")
            yield base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _sections(paths: tuple[Path, ...], environ: Mapping[str, str]) -> Iterator[str]:
    for path in paths:
        lines = read_end(path, MAX_BYTES).decode(errors="replace").splitlines()[-MAX_LINES:]
        if lines:
            yield f"--- {path.name}, its last {len(lines)} lines\n"
            yield in_page(scrub("\n".join(lines), environ)) + "\n"


def _read(path: Path, num_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(num_bytes)
    except OSError:
        return b""


def read_end(path: Path, num_bytes: int) -> bytes:
    """The last bytes of a file, from the beginning of a line on; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - num_bytes))
            found = file.read(num_bytes)
    except OSError:
        return b""
    return found if size <= num_bytes else found.partition(b"\n")[2]
