"""Becomes a process of Ray's on a node, as a program: in the place of Ray's own, which imports Ray to set variables.

That import is 0.3 CPU s for every process, which then imports Ray once more. What is not known here is left to Ray's.
"""

import json
import os
import re
import shlex
import sys
from importlib.util import find_spec
from typing import NoReturn

_ENVIRONMENT, _LANGUAGE = "--serialized-runtime-env-context=", "--language="
_KNOWN = {"command_prefix", "env_vars", "java_jars", "override_worker_entrypoint", "py_executable"}


def main(arguments: list[str]) -> None:
    """Sets the variables of the process and executes it."""
    environments = [item.removeprefix(_ENVIRONMENT) for item in arguments if item.startswith(_ENVIRONMENT)]
    passed = [item for item in arguments if not item.startswith((_ENVIRONMENT, _LANGUAGE))]
    environment = json.loads(environments[0]) if len(environments) == 1 else None
    if not isinstance(environment, dict) or environment.keys() != _KNOWN or f"{_LANGUAGE}PYTHON" not in arguments:
        _leave_to_ray(arguments)
    for name, value in environment["env_vars"].items():
        # As Ray does: ${NAME} is what the variable says here, and empty where there is none.
        os.environ[name] = re.sub(r"\$\{[A-Z0-9_]+\}", "", os.path.expandvars(value))
    if environment["override_worker_entrypoint"]:
        passed[0] = environment["override_worker_entrypoint"]
    # A prefix and the Python are shell words of whoever asked for them.
    command = [*environment["command_prefix"], "exec", environment["py_executable"], *map(shlex.quote, passed)]
    os.execvp("bash", ["bash", "-c", " ".join(command)])


def _leave_to_ray(arguments: list[str]) -> NoReturn:
    found = find_spec("ray")
    assert found is not None
    assert found.origin is not None
    own = os.path.join(os.path.dirname(found.origin), "_private", "workers", "setup_worker.py")  # noqa: PTH118, PTH120
    os.execv(sys.executable, [sys.executable, own, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
