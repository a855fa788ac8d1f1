"""The files of a batch on this node's disk: requests on their way in, outcomes on their way out.

Both lie in temporary files without a name, which are gone with the process: pictures make them large (190 MB), and all
that a later run needs is in the store (batch_record.py) and with the provider.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Any, Final

from eibench_ray.engines.openai.http_client import Response
from eibench_ray.engines.openai.no_response import NoResponse
from eibench_ray.engines.openai.openai_section import BatchConfig

CHAT_URL: Final = "/v1/chat/completions"


def to_line(line_id: str, body: bytes) -> bytes:
    """One request as a line of an input file."""
    head = json.dumps({"custom_id": line_id, "method": "POST", "url": CHAT_URL})
    return b'%s, "body": %s}\n' % (head[:-1].encode(), body)


class Outbox:
    """Requests that are gathered into one file.

    Attributes:
        file: the lines so far.
    """

    def __init__(self, config: BatchConfig, now: float) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is uploaded
        self.line_ids: list[str] = []  # theirs, in order
        self._config = config
        self._num_bytes = 0
        self._touched = now

    @property
    def is_full(self) -> bool:
        """Whether no line may join any more."""
        return len(self.line_ids) >= self._config.max_requests or self._num_bytes >= self._config.max_bytes

    def has_room(self, line: bytes) -> bool:
        """Whether a line may still join."""
        return not self.line_ids or (not self.is_full and self._num_bytes + len(line) <= self._config.max_bytes)

    def add(self, line_id: str, line: bytes, now: float) -> None:
        """Takes a line in."""
        self.file.write(line)
        self.line_ids.append(line_id)
        self._num_bytes += len(line)
        self._touched = now

    def left_s(self, now: float) -> float:
        """Seconds until it is sent if nobody joins; 0 or less: now."""
        return self._touched + self._config.linger_s - now


class Inbox:
    """The downloaded lines of an ended batch, found by their ids."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - rows may ask until the process ends
        self._places: dict[str, tuple[int, int]] = {}

    def begin(self) -> int:
        """The offset at which the next file begins; what is written after it can be taken back by `rewind`."""
        return self._file.seek(0, 2)

    def rewind(self, start: int) -> None:
        """Forgets what was written since `begin`."""
        self._file.truncate(start)
        self._file.seek(start)

    def write(self, chunk: bytes) -> None:
        """Takes in a part of a file."""
        self._file.write(chunk)

    def index(self, start: int) -> bool:
        """Reads the ids of the lines from `start` on; False where there are bytes, and none is such a line.

        A line of a later file stands above an earlier one's.
        """
        self._file.seek(start)
        num_lines, at = 0, start
        while line := self._file.readline():
            if (line_id := _line_id(line)) is not None:
                self._places[line_id] = (at, len(line))
                num_lines += 1
            at += len(line)
        return num_lines > 0 or at == start

    def close(self) -> None:
        """Gives the disk back."""
        self._file.close()

    def find(self, line_id: str) -> Response | NoResponse | None:
        """The outcome of a line; None where the provider says nothing of it."""
        if line_id not in self._places:
            return None
        start, length = self._places[line_id]
        self._file.seek(start)
        return _read(json.loads(self._file.read(length)))


def _line_id(line: bytes) -> str | None:
    try:
        line_id = json.loads(line)["custom_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return line_id if isinstance(line_id, str) else None


def _read(line: Mapping[str, Any]) -> Response | NoResponse:
    """Reads a line of output; one without a response was not executed."""
    response = line.get("response")
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        return Response(status, {}, json.dumps(response.get("body"), ensure_ascii=False))
    error = line.get("error")
    error = error if isinstance(error, dict) else {}
    reason = f"{error.get('message') or 'no reason was given'} ({error.get('code') or 'no code'})"
    return NoResponse(reason, was_sent=False)
