"""A store or a dataset in a bucket (S3, GCS): one PUT makes an object; what fails for a moment is tried again."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from eibench_ray.errors import StoreError
from eibench_ray.storage.interface import Entry, Storage
from eibench_ray.storage.location import Location

log = logging.getLogger(__name__)

# How long an operation is tried again before the run is given up, and how long it waits at most in between.
RETRY_S = 120.0
MOST_WAIT_S = 10.0
# How long the client of GCS tries by itself: its own 15 minutes would hide what is wrong.
GCS_RETRY = timedelta(seconds=20)
COPY_BYTES = 8 << 20
# Objects below 5 MiB go in one PUT, larger ones in parts of which nothing is seen before the last one.
_PASSING = re.compile(
    r"SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|INTERNAL_ERROR|REQUEST_TIMEOUT|NETWORK_CONNECTION"
    r"|REQUEST_TIME_TOO_SKEWED|HTTP status (429|5\d\d)|curlCode|timed? ?out|UNAVAILABLE|DEADLINE_EXCEEDED"
)

T = TypeVar("T")


class Bucket(Storage):
    """Objects below a prefix.

    Args:
        service: Arrow's file system of the bucket's service.
        scheme: for the names of objects.
        retry_s: how long a failing operation is tried again.
    """

    num_threads = 32
    reads_per_thread = 1
    is_remote = True

    def __init__(self, service: fs.FileSystem, scheme: str, retry_s: float = RETRY_S) -> None:
        self._service = service
        self._scheme = scheme
        self._retry_s = retry_s

    def name(self, path: PurePath) -> str:
        """The object's URI."""
        return f"{self._scheme}://{path}"

    def read(self, path: PurePath, last: int | None = None) -> bytes | None:
        """An object's content, or as many bytes of its end; None where there is none."""

        def read() -> bytes | None:
            try:
                with self._service.open_input_file(str(path)) as source:
                    size = source.size()
                    source.seek(0 if last is None else max(0, size - last))
                    content: bytes = source.read()
                    return content
            except FileNotFoundError:
                return None

        return self._try("read", path, read)

    def open(self, path: PurePath) -> pa.NativeFile | None:
        """An object, to be read by ranges; None where there is none."""

        def open_object() -> pa.NativeFile | None:
            try:
                return self._service.open_input_file(str(path))
            except FileNotFoundError:
                return None

        return self._try("read", path, open_object)

    def attempt(self, path: PurePath, read: Callable[[], T]) -> T:
        """Reads ranges, tried again as other operations are."""
        return self._try("read", path, read, failures=(OSError,))

    def upload(self, file: Path, path: PurePath) -> None:
        """Puts an object in parts; it is there when the last one is."""

        def copy() -> None:
            with file.open("rb") as source, self._service.open_output_stream(str(path), compression=None) as sink:
                shutil.copyfileobj(source, sink, COPY_BYTES)

        self._try("written", path, copy)

    def write(self, path: PurePath, content: bytes) -> None:
        """Puts the object under its final name."""

        def write() -> None:
            with self._service.open_output_stream(str(path), compression=None) as sink:
                sink.write(content)

        self._try("written", path, write)

    def list(self, folder: PurePath) -> Sequence[Entry]:
        """Entries of a folder, by name; nothing where there is none."""
        entries = (Entry(info.base_name, info.type == fs.FileType.Directory) for info in self._look_into(folder))
        return sorted(entries, key=lambda entry: entry.name)

    def sizes(self, folder: PurePath) -> Mapping[str, int]:
        """Bytes of each object directly below a folder, by name."""
        return {info.base_name: info.size for info in self._look_into(folder) if info.type == fs.FileType.File}

    def _look_into(self, folder: PurePath) -> Sequence[fs.FileInfo]:
        selector = fs.FileSelector(str(folder), allow_not_found=True)
        return self._try("listed", folder, lambda: self._service.get_file_info(selector))

    def stamp(self, path: PurePath) -> Hashable:
        """Time at which the object was put, and its size; None where there is none."""
        info = self._try("looked at", path, lambda: self._service.get_file_info(str(path)))
        return None if info.type == fs.FileType.NotFound else (info.mtime_ns, info.size)

    def stamps(self, folder: PurePath) -> Mapping[str, Hashable]:
        """Stamps of all objects directly below a folder, by name; one request tells a thousand."""
        return {info.base_name: (info.mtime_ns, info.size) for info in self._look_into(folder)}

    def remove(self, path: PurePath) -> None:
        """Removes an object, if there is one."""

        def remove() -> None:
            try:
                self._service.delete_file(str(path))
            except FileNotFoundError:
                return

        self._try("removed", path, remove)

    def remove_folder(self, folder: PurePath) -> None:
        """Nothing: a bucket has objects alone."""

    def move(self, path: PurePath, target: PurePath) -> None:
        """Copies an object and removes the first one."""
        self._try("copied", path, lambda: self._service.copy_file(str(path), str(target)))
        self.remove(path)

    def _try(
        self,
        done: str,
        path: PurePath,
        operation: Callable[[], T],
        failures: tuple[type[Exception], ...] = (OSError, pa.ArrowException),
    ) -> T:
        """Result of the operation, after as many attempts as the time allows."""
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.2, max=MOST_WAIT_S),
            stop=stop_after_delay(self._retry_s),
            before_sleep=self._note,
            reraise=True,
        )
        try:
            return attempts(operation)
        except failures as error:
            reason = " ".join(str(error).split())
            how_long = f", for {self._retry_s:g} s" if _may_pass(error) else ""
            raise StoreError(
                f"{self.name(path)} cannot be {done} ({reason}{how_long}): check the bucket, its endpoint and the "
                f"keys in the environment, then run the same command again; what was committed is kept"
            ) from error

    def _note(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        log.warning("storage failed, tried again attempt=%d: %s", state.attempt_number, state.outcome.exception())


def open_bucket(location: Location, environ: Mapping[str, str] = os.environ) -> Bucket:
    """The bucket at a location. Keys, and what the location does not say, come from the environment.

    Raises:
        StoreError: its service cannot be used.
    """
    try:
        service = _open_s3(location, environ) if location.scheme == "s3" else _open_gcs(location)
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(
            f"the bucket of {location.scheme}://{location.path} cannot be used ({reason}): check its name, its region "
            f"and the keys in the environment"
        ) from error
    return Bucket(service, location.scheme)


def _open_s3(location: Location, environ: Mapping[str, str]) -> fs.FileSystem:
    options = _options(location)
    if "endpoint_override" not in options and (url := _first(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")):
        parts = urlsplit(url)
        options = {"scheme": parts.scheme, "endpoint_override": parts.netloc} | options
    if "region" not in options:
        region = _first(environ, "AWS_REGION", "AWS_DEFAULT_REGION")
        bucket = location.path.split("/", 1)[0]
        options["region"] = region or ("us-east-1" if "endpoint_override" in options else fs.resolve_s3_region(bucket))
    # Not opened before there is something to send: one PUT, without asking first.
    return fs.S3FileSystem(allow_delayed_open=True, **options)


def _open_gcs(location: Location) -> fs.FileSystem:
    return fs.GcsFileSystem(retry_time_limit=GCS_RETRY, **_options(location))


def _options(location: Location) -> dict[str, Any]:
    """Arrow's arguments."""
    options: dict[str, Any] = dict(location.options)
    if "anonymous" in options:
        options["anonymous"] = options["anonymous"] == "true"
    return options


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := environ.get(name))), None)


def _may_pass(error: BaseException) -> bool:
    """Whether the same operation may succeed a moment later."""
    return isinstance(error, OSError) and _PASSING.search(str(error)) is not None
