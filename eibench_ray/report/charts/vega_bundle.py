"""The script that draws the charts of a page: Vega, Vega-Lite and Vega-Embed, 0.9 MB, kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import subprocess
import sys
from importlib.metadata import version

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.storage.cache_folder import cache_folder

log = logging.getLogger(__name__)


def read_bundle() -> str:
    """The script of the installed vl_convert: from the cache where it is whole there, else made (2 s) and kept."""
    folder, name = cache_folder(), f"vega-{version('vl-convert-python')}"
    for path in sorted(folder.glob(f"{name}-*.js")):
        with contextlib.suppress(OSError):
            if _file_name(name, script := path.read_bytes()) == path.name:
                return script.decode()
    script = _make_bundle()
    path = folder / _file_name(name, script)
    try:
        with replacing(path) as draft:
            draft.write_bytes(script)
    except (StoreError, OSError) as error:
        log.debug("%s is not kept: %s", path, error)
    return script.decode()


def _file_name(name: str, script: bytes) -> str:
    """The name says what the file holds, so that a damaged one is not taken."""
    return f"{name}-{hashlib.sha256(script).hexdigest()[:32]}.js"


def _make_bundle() -> bytes:
    """The script, made by a process of its own: vl_convert keeps the interpreter's lock all the while.

    No other thread would answer a request or a signal.
    """
    code = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
    # -P: a file of the folder that the command is called in is no package.
    return subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True).stdout
