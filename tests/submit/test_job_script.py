"""The scripts that are submitted: whole texts, clean to shellcheck, and harmless whatever a value holds."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.slurm import SlurmConfig
from eibench_ray.driver.ray_node import parse_options
from eibench_ray.submit.job_script import SlurmJob, SlurmShare, format_time, quote_for_bash, render
from eibench_ray.visible_text import in_line

GOLDEN = Path(__file__).parent / "golden"
SWEEP = ("-m", "model=a,b", "dataset=demo", "judge=c", "cluster=slurm")
SHELLCHECK = Path(sys.executable).parent / "shellcheck"

SITES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one_node": ({"gpus_per_node": 4}, {}),
    "nodes": (
        {"nodes": 3, "gpus_per_node": 8, "gpu_type": "a100", "memory": "512G", "partition": "gpu", "account": "vision"},
        {},
    ),
    "modules": (
        {
            "nodes": 2,
            "modules": ["python/3.11", "cuda/12.8"],
            "setup": ["ulimit -n 65536"],
            "venv": "/home/me/my venv",
            "env": {"NCCL_SOCKET_IFNAME": "ib0"},
            "export": ["WANDB_API_KEY", "HF_TOKEN"],
            "requeue": False,
            "options": {"nice": 100, "exclusive": True, "overcommit": False},
        },
        {},
    ),
    "container": ({"nodes": 2, "container": "/images/eibench ray.sif"}, {}),
    "array": ({"form": "array", "nodes": 4, "gpus_per_node": 1}, {"share": SlurmShare(1, 3)}),
    "last_of_array": ({"form": "array", "nodes": 4, "gpus_per_node": 1}, {"needs_gpus": False}),
    "until_no_gpu_is_needed": ({"gpus_per_node": 4}, {"leaves_word": True}),
    "without_gpus": (
        {
            "nodes": 3,
            "gpus_per_node": 8,
            "gpu_type": "a100",
            "partition": "gpu",
            "account": "vision",
            "constraint": "nvlink",
            "options": {"exclusive": True},
            "without_gpus": {"partition": "cpu", "memory": "8G", "cpus": 2, "options": {"nice": 50}},
        },
        {"needs_gpus": False, "awaits_word": True},
    ),
}


def script(site: dict[str, Any], *, sweep: str = "table", arguments: tuple[str, ...] = SWEEP, **job: Any) -> str:
    cluster = ClusterConfig(name="slurm", grace_s=60.0, walltime=4 * 3600.0)
    what = SlurmJob(sweep, "multirun/slurm-20261126-101500-ab12", arguments, **job)
    return render(what, SlurmConfig.model_validate(site), cluster, "/home/me/.venv")


def shellcheck(text: str) -> str:
    done = subprocess.run([SHELLCHECK, "-"], input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", SITES)
def test_a_script_is_the_golden_text(name: str) -> None:
    site, job = SITES[name]
    assert script(site, **job) == (GOLDEN / f"{name}.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SITES)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    site, job = SITES[name]
    assert shellcheck(script(site, **job)) == ""


HOSTILE = [
    "$(touch hacked)",
    "`touch hacked`",
    "'; touch hacked; '",
    '"; touch hacked; "',
    "a\ntouch hacked\n",
    "a\n#SBATCH --wrap=x\n",
    "a && touch hacked #",
    "\\'; touch hacked #",
    "~ * ? [a] {a,b} !!",
    "grin \N{GRINNING FACE} \x01",
]


def test_a_dashboard_that_is_asked_for_is_one_of_all_nodes() -> None:
    text = render(
        SlurmJob("table", "multirun/here", SWEEP),
        SlurmConfig(nodes=2),
        ClusterConfig(name="slurm", dashboard_port=8265),
        "/home/me/.venv",
    )
    assert text.count(" --dashboard-port=8265 &\n") == 1
    assert shellcheck(text) == ""
    assert "dashboard" not in script({"nodes": 2})


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_a_value(tmp_path: Path, value: str) -> None:
    """The script runs, with stand-ins for what it calls: the sweep's arguments arrive as they were given."""
    environment = tmp_path / "environment $(touch hacked)"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "activate").write_text('PATH="$PWD/bin:$PATH"\n')
    tools = tmp_path / "bin"
    tools.mkdir()
    stand_in(tools / "eibench-ray", "import sys; open('arguments', 'w').write('\\0'.join(sys.argv[1:]))")
    stand_in(tools / "module", "")
    text = script(
        {"venv": str(environment), "modules": [value], "env": {"MINE": value}, "scratch": "/tmp"},
        sweep=value,
        arguments=("-m", f"sweep={value}", value),
    )
    assert options_of(text) == options_of(script({"scratch": "/tmp"}, sweep=name_of(text)))
    job = {"SLURM_JOB_ID": f"test{tmp_path.name}", "SLURM_JOB_END_TIME": "2000000000", "PATH": f"{tools}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=job, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    given = (tmp_path / "arguments").read_text().split("\0")
    assert given[:3] == ["run", "-m", f"sweep={value}"]
    assert given[3] == value
    assert not list(tmp_path.rglob("hacked"))
    assert not list(tmp_path.rglob("token-*"))


RAY = """
import json, os, sys
(folder,) = (word.partition("=")[2] for word in sys.argv if word.startswith("--temp-dir="))
os.mkdir(folder, 0o777)
private = os.path.dirname(folder)
seen = {"mode": oct(os.stat(private).st_mode & 0o777), "private": private, "tmpdir": os.environ["TMPDIR"]}
seen |= {"words": sys.argv[1:], "left": sorted(os.listdir(os.environ["RAY_TMPDIR"]))}
open("seen", "a").write(json.dumps(seen) + "\\n")
if os.environ.get("KILL"):
    os.kill(os.getppid(), 9)
"""


def test_ray_on_a_node_has_a_private_folder_that_goes_and_what_a_killed_job_left_goes_later(tmp_path: Path) -> None:
    base = tmp_path / "scratch"
    base.mkdir()
    (base / "eib-elsewhere").mkdir()
    (base / "eib-elsewhere" / ".lock").write_text("another-machine\n")
    (base / "eib-link").symlink_to(tmp_path)
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin" / "python", RAY)
    text = script({"nodes": 2})
    functions = text[text.index("make_private() {") : text.index("export -f")]
    environ = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "RAY_TMPDIR": str(base),
        "SLURM_NODEID": "1",
        "EIBENCH_INSIDE": "",
        "EIBENCH_HEAD": "head",
        "EIBENCH_PORT": "1",
        "SRUN_CPUS_PER_TASK": "1",
    }
    command = ["bash", "-c", f"set -euo pipefail\n{functions}\nstart_ray"]

    def start(**more: str) -> dict[str, Any]:
        subprocess.run(command, cwd=tmp_path, env=environ | more, capture_output=True, text=True, check=False)
        seen: dict[str, Any] = json.loads((tmp_path / "seen").read_text().splitlines()[-1])
        return seen

    killed = start(KILL="1")
    assert killed["mode"] == "0o700"
    assert killed["tmpdir"] == killed["private"]
    assert f"--temp-dir={killed['private']}/r" in killed["words"]
    assert Path(killed["private"]).is_dir()
    assert killed["words"][:3] == ["-P", "-m", "eibench_ray.driver.ray_node"]
    assert parse_options(killed["words"][3:]).address == "head:1"
    others = ["eib-elsewhere", "eib-link"]
    second = start()
    assert second["left"] == sorted([*others, Path(second["private"]).name])
    assert sorted(path.name for path in base.iterdir()) == others


def options_of(text: str) -> list[str]:
    """Options that sbatch reads: it stops at the first line of code."""
    return list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))


def name_of(text: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith("#SBATCH --job-name="))
    name = line.partition("=")[2]
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    return name


def stand_in(path: Path, code: str) -> None:
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("code", "state", "signal", "requeued"),
    [
        (75, "RUNNING", None, True),
        (75, "COMPLETING", "TERM", False),  # scancel
        (0, "RUNNING", None, False),
        (1, "RUNNING", None, False),
        (130, "RUNNING", None, False),
        (2, "RUNNING", "TERM", True),  # a preemption that took Ray away first
        (0, "RUNNING", "USR1", False),  # it was done in time
    ],
)
def test_a_job_queues_itself_again_when_it_has_something_left_and_was_not_cancelled(
    tmp_path: Path, code: int, state: str, signal: str | None, requeued: bool
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "activate").write_text('PATH="$PWD/bin:$PATH"\n')
    wait = f"os.kill(os.getppid(), signal.SIG{signal}); assert signal.sigtimedwait(told, 20)" if signal else ""
    stand_in(
        tools / "eibench-ray",
        f"import os, signal, sys\ntold = (signal.SIGTERM, signal.SIGUSR1)\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, told)\n{wait}\nsys.exit({code})",
    )
    stand_in(tools / "squeue", f"print({state!r})")
    stand_in(tools / "scontrol", "import sys; open('requeued', 'w').write(' '.join(sys.argv[1:]))")
    text = script({"venv": "environment"})
    job = {"SLURM_JOB_ID": f"test{tmp_path.name}", "SLURM_JOB_END_TIME": "2000000000", "PATH": f"{tools}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=job, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "requeued").exists() is requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == f"requeue {job['SLURM_JOB_ID']}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(14400, "04:00:00"), (90, "00:01:00"), (30, "00:01:00"), (129660, "1-12:01:00")]
)
def test_times_are_whole_minutes_as_slurm_counts_them(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize("text", ["a b", "it's", "\x1b[2J'x\\y\n\ty", "\x0712", "\u202e\u00e9", "bad\udcff"])
def test_a_value_is_one_word_of_bash_and_shows_no_control_character(text: str) -> None:
    word = quote_for_bash(text)
    assert in_line(word) == word
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert said.stdout == text.encode("utf-8", "surrogateescape")
