"""The identity of an engine: what its answers depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from eibench_ray.errors import PlanError


def file_digest(path: Path) -> str:
    """Digest of a file's bytes.

    Raises:
        PlanError: it cannot be read.
    """
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror}): correct the path, or put the file there") from None
