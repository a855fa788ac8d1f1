"""Whether Ray can run from this Python and this home, asked before it starts. Pure, but for a look at the home."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from eibench_ray.storage.disk_space import nearest_folder

# What a shell reads as more than a part of a word. Ray 2.60 starts its workers by `bash -c "exec PYTHON ..."` with the
# path as it is; a worker that does not start is started again and again, and nothing is said.
_SHELL = re.compile(r"""[\s'"\\$`&|;<>()*?\[\]{}~#!]""")
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def find_python_flaw(executable: str) -> str:
    """The reason why Ray cannot start workers in this Python, with the remedy; empty where it can."""
    if not (found := _SHELL.search(executable)):
        return ""
    what = "a blank" if found[0].isspace() else found[0]
    return (
        f"Ray cannot start its workers in the Python environment {executable}: its path has {what} in it, which Ray "
        f"hands to a shell; make the environment in a folder whose path has none"
    )


def find_home_flaw(environ: Mapping[str, str]) -> str:
    """Reason why Ray's token cannot lie in the user's home, with the remedy; empty where it can, or is elsewhere."""
    if environ.get("RAY_AUTH_MODE") == "disabled" or any(environ.get(name) for name in _TOKEN_VARIABLES):
        return ""
    remedy = "export HOME=FOLDER that you may write to, or RAY_AUTH_TOKEN_PATH=FILE with a token of yours"
    home = environ.get("HOME") or ""
    if not home:
        return f"HOME is not set, and Ray keeps its token there: {remedy}"
    folder = Path(home) / ".ray"
    if (folder / "auth_token").is_file():
        return ""
    try:
        with tempfile.TemporaryFile(dir=nearest_folder(folder)):
            return ""
    except OSError as error:
        return f"HOME={home} cannot be written ({error.strerror}), and Ray keeps its token there: {remedy}"
