"""The files in launch/: shell that shellcheck passes, YAML of the right shape, and commands that can be planned."""

from __future__ import annotations

import copy
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from eibench_ray.cli.app import main

LAUNCH = Path(__file__).parents[2] / "launch"
KUBERNETES = "1.34"


def shape(required: str, **fields: Any) -> dict[str, Any]:
    """The schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": fields,
    }


TEXT, COUNT, TRUE = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
# What launch/ uses of ray.io/v1 RayJob (KubeRay 1.5.1), by the Go types of its API; pods are Kubernetes' own.
START = {"type": "object", "additionalProperties": TEXT}
POD = shape("spec", metadata={"type": "object"}, spec={"type": "object"})
RAY_JOB = shape(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=shape("name", name=TEXT),
    spec=shape(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=COUNT,
        shutdownAfterJobFinishes=TRUE,
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=shape(
            "rayVersion headGroupSpec workerGroupSpecs",
            rayVersion=TEXT,
            authOptions=shape("mode", mode={"enum": ["disabled", "token"]}),
            headGroupSpec=shape("rayStartParams template", rayStartParams=START, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": shape(
                    "groupName rayStartParams template",
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=START,
                    template=POD,
                ),
            },
        ),
    ),
)
# What launch/ uses of a task of SkyPilot 0.14.
SKY_TASK = shape(
    "resources run",
    resources=shape(
        "accelerators",
        accelerators={"type": "string", "pattern": "^[A-Za-z0-9-]+:[0-9]+$"},
        use_spot=TRUE,
        job_recovery=shape("", recover_on_exit_codes={"type": "array", "items": {"type": "integer", "maximum": 255}}),
    ),
    workdir=TEXT,
    file_mounts={
        "type": "object",
        "propertyNames": {"pattern": "^/"},
        "additionalProperties": shape("name mode", name=TEXT, mode={"enum": ["MOUNT", "COPY", "MOUNT_CACHED"]}),
    },
    setup=TEXT,
    run=TEXT,
)


def document(name: str) -> Any:
    return yaml.safe_load((LAUNCH / name).read_text())


def check(name: str, value: Any) -> None:
    """Raises where a document is not what its reader takes."""
    if name == "ray_up.yaml":
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(prepare_config(value))
    elif name == "skypilot.yaml":
        jsonschema.validate(value, SKY_TASK)
    else:
        jsonschema.validate(value, RAY_JOB)
        cluster = value["spec"]["rayClusterSpec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": group["template"]["spec"]}
            kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say_of_launching(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", path], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


def command_of(value: Any) -> str | None:
    """The text of a document in which the sweep is run."""
    if isinstance(value, dict | list):
        found = map(command_of, value.values() if isinstance(value, dict) else value)
        return next(filter(None, found), None)
    return value if isinstance(value, str) and "eibench-ray run" in value else None


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.yaml")), ids=lambda path: path.name)
def test_a_file_is_what_its_reader_takes(path: Path) -> None:
    check(path.name, document(path.name))


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("kuberay.yaml", ["spec"]),
        ("kuberay.yaml", ["spec", "rayClusterSpec", "workerGroupSpecs", 0]),
        ("kuberay.yaml", ["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0]),
        (
            "kuberay.yaml",
            ["spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "volumes", 1, "emptyDir"],
        ),
        ("skypilot.yaml", ["resources", "job_recovery"]),
        ("skypilot.yaml", []),
        ("ray_up.yaml", []),
        ("ray_up.yaml", ["available_node_types", "worker"]),
    ],
)
def test_a_word_that_a_reader_does_not_know_is_found(name: str, where: list[str | int]) -> None:
    value = copy.deepcopy(document(name))
    part = value
    for step in where:
        part = part[step]
    part["replcas"] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(name, value)


def test_a_cluster_of_ray_up_wants_a_token_and_its_dashboard_is_on_loopback() -> None:
    value = document("ray_up.yaml")
    for name, flags in {
        "head_start_ray_commands": {"--dashboard-host=127.0.0.1", "--include-dashboard=true"},
        "worker_start_ray_commands": set(),
    }.items():
        start = value[name][-1]
        assert "RAY_AUTH_MODE=token" in start
        assert flags <= set(start.split())
        script = "\n".join(["#!/bin/bash", *value["setup_commands"], *value[name]])
        found = subprocess.run(
            [Path(sys.executable).parent / "shellcheck", "--exclude=SC1090,SC1091", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == ""
    assert value["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_a_pod_has_time_to_finish_what_is_in_flight() -> None:
    cluster = document("kuberay.yaml")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= 60 + 30  # grace_s, stop_timeout_s
    assert cluster["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("path", [LAUNCH / "kuberay.yaml", LAUNCH / "skypilot.yaml"], ids=lambda path: path.name)
def test_what_a_file_launches_is_a_sweep_that_can_be_planned(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of(yaml.safe_load(path.read_text()))
    assert command is not None
    arguments = shlex.split(command.partition("eibench-ray run ")[2])
    arguments = [one for one in arguments if "=" in one or one == "-m"]
    own = [one for one in arguments if not one.startswith(("hydra.", "store.", "+"))]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eibench-ray", "plan", "--json", *own])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]
