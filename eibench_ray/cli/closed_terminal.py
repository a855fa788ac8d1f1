"""A terminal that may be closed under a command that still has something to finish."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any, TextIO


class _Stream(io.FileIO):
    """A stream whose terminal may go: what is written to it then is dropped, as there is nobody to read it."""

    def write(self, content: Any, /) -> int:
        """The number of bytes that were taken."""
        try:
            return super().write(content) or 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(content)


def outlive_terminal() -> None:
    """Lets the command go on where its terminal is closed; what is no terminal is left as it is."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    if not stream.isatty():
        return stream
    raw = io.BufferedWriter(_Stream(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
