"""Processes of Ray start as Ray itself would start them, without importing it to set their variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from eibench_ray.driver import worker_setup

WORKER = ["/ray/default_worker.py", "--object-store-name=/tmp/a 'folder'", "--worker-id", "RAY $HOME"]


class Executed(Exception):
    """A process became another one."""


def executed(become: Callable[[], object]) -> tuple[str, list[str], dict[str, str]]:
    """The program that the process becomes, its arguments and its variables."""

    def execute(program: str, args: list[str]) -> None:
        raise Executed(program, args, dict(os.environ))

    with (
        patch.dict(os.environ, {"HERE": "a place"}),
        patch.object(os, "execvp", execute),
        patch.object(os, "execv", execute),
        pytest.raises(Executed) as done,
    ):
        become()
    program, args, variables = done.value.args
    return program, args, variables


def environment(**fields: Any) -> str:
    from ray._private.runtime_env.context import RuntimeEnvContext

    return RuntimeEnvContext(**fields).serialize()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"env_vars": {"ONE": "1", "TWO": "${HERE}/${NOWHERE}", "THREE": "$HERE ${ONE} ${lower}", "HERE": ""}},
        {"py_executable": "nice /somewhere/python -u", "command_prefix": ["cd", "/tmp", "&&"]},
        {"override_worker_entrypoint": "/container/worker.py"},
    ],
)
def test_a_process_starts_as_ray_starts_it(fields: dict[str, Any]) -> None:
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray.core.generated.common_pb2 import Language

    told = environment(**fields)
    ours = [*WORKER, f"--serialized-runtime-env-context={told}", "--language=PYTHON"]
    rays = RuntimeEnvContext.deserialize(told)
    assert executed(lambda: worker_setup.main(ours)) == executed(
        lambda: rays.exec_worker([*WORKER], Language.Value("PYTHON"))
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--language=PYTHON"],
        ["--serialized-runtime-env-context={}", "--language=PYTHON"],
        ["--serialized-runtime-env-context=null", "--language=PYTHON"],
        ["--language=JAVA"],
    ],
)
def test_what_is_not_known_is_left_to_ray(arguments: list[str]) -> None:
    import ray

    given = [*WORKER, *arguments]
    if "JAVA" in arguments[0]:
        given.append(f"--serialized-runtime-env-context={environment()}")
    program, args, _ = executed(lambda: worker_setup.main(given))
    assert (program, args[0]) == (sys.executable, sys.executable)
    assert Path(args[1]) == Path(ray.__file__).parent / "_private" / "workers" / "setup_worker.py"
    assert Path(args[1]).is_file()
    assert args[2:] == given


def test_a_process_gets_its_variables_without_importing_ray(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, sys; print(os.environ['TOLD'], sys.argv[1:])")
    told = json.dumps(json.loads(environment(env_vars={"TOLD": "it's ${HERE}"})))
    command = [sys.executable, "-X", "importtime", worker_setup.__file__, str(worker), "an argument"]
    done = subprocess.run(
        [*command, f"--serialized-runtime-env-context={told}", "--language=PYTHON"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HERE": "a place"},
    )
    assert done.stdout == "it's a place ['an argument']\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "json" in imported
    assert not {name for name in imported if name.split(".")[0] == "ray"}
