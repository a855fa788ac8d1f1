"""Writes that are whole or not there: beside the final name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eibench_ray.errors import DiskFullError, StoreError

# What is written beside its final name; a kill may leave it behind, and nobody reads it.
PARTIAL_SUFFIX = ".tmp"
# A disk, a quota or the longest file is full, or the disk is broken.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends without an error.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
        # Not mkstemp, whose file is the owner's alone: who may read it is the umask's, and the folder's, to say.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        temporary = draft
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # the disk may be gone by now: what made it so is the error to show
                temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error that says so: of a full disk, which ends a run that was right; or of a place that is none to write."""
    kind = DiskFullError if error.errno in FULL else StoreError
    return kind(
        f"{path} cannot be written ({error.strerror or error}): check the folder's permissions and the free space, "
        f"then run the same command again; what was committed is kept"
    )


def is_partial(name: str) -> bool:
    """Whether a file of that name is one that a write did not finish."""
    return name.startswith(".") and name.endswith(PARTIAL_SUFFIX)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(dump_json(value))


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        StoreError: it is not there or is not JSON.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): check the path") from None


def dump_json(value: Any) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(value, indent=1, sort_keys=False, ensure_ascii=False) + "\n").encode()


def parse_json(content: bytes, where: str) -> Any:
    """The value in a JSON file that lies at `where`.

    Raises:
        StoreError: it is not JSON.
    """
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        reason = str(error)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, a thousand brackets
        reason = str(error)
    raise StoreError(f"{where} is not JSON ({reason}): move it away and run again")
