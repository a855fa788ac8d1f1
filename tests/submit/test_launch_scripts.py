"""The scripts in launch/, run: whatever a value holds, it arrives as it was given, and a sweep goes on after 75."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from command_lines import children_named

LAUNCH = Path(__file__).parents[2] / "launch"
HOSTILE = [
    "$(touch hacked)",
    "`touch hacked`",
    "'; touch hacked; '",
    '"; touch hacked; "',
    "a\ntouch hacked\n",
    "~ * ?",
]


def stand_in(path: Path, code: str) -> None:
    """A program of Python instead of the one of that name."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport os, sys, json, subprocess\n{code}\n")
    path.chmod(0o755)


def call(script: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script of launch/, run in a folder, with its stand-ins first on the path."""
    given = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), **environment}
    return subprocess.run(
        ["bash", LAUNCH / script, *arguments], cwd=folder, env=given, capture_output=True, text=True, timeout=120
    )


# `ray job submit` joins the command as Ray's own command does, and the head's shell reads it.
RAY = """
import shlex
command = sys.argv[sys.argv.index("--") + 1:]
done = subprocess.run(["/bin/sh", "-c", shlex.join(command)])
sys.exit(1 if done.returncode else 0)
"""
# sshd hands what ssh was given, joined by blanks, to the user's shell.
SSH = """
words = sys.argv[1:]
while words[0].startswith("-"):
    words = words[2:] if words[0] == "-o" else words[1:]
open("hosts", "a").write(words[0] + "\\n")
os.execv("/bin/bash", ["bash", "-c", " ".join(words[1:])])
"""
SWEEP = """
count = len(open("calls").readlines()) if os.path.exists("calls") else 0
open("calls", "a").write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(75 if count < int(os.environ.get("PREEMPTIONS", "0")) else int(os.environ.get("CODE", "0")))
"""


def calls(folder: Path) -> list[list[str]]:
    """Arguments that `eibench-ray` was given, each time."""
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder in which a script is called, with stand-ins for what it calls; its own name is as hostile."""
    path = tmp_path / "folder $(touch hacked)'s"
    path.mkdir()
    stand_in(path / "bin" / "eibench-ray", SWEEP)
    stand_in(path / "bin" / "ssh", SSH)
    stand_in(path / "bin" / "sleep", "")
    return path


def test_what_a_ray_job_is_given_arrives_and_nothing_of_it_is_run(folder: Path) -> None:
    stand_in(folder / "bin" / "ray", RAY)
    store = "/shared/" + "".join(HOSTILE)
    done = call("ray_job.sh", folder, "-m", *HOSTILE, STORE=store, WORKING_DIR=store)
    assert done.returncode == 0, done.stderr
    (given,) = calls(folder)
    assert given[:3] == ["run", "cluster=ray", f"store.root={store}"]
    assert given[-len(HOSTILE) - 1 :] == ["-m", *HOSTILE]
    assert not list(folder.parent.rglob("hacked"))


@pytest.mark.parametrize(
    ("preemptions", "code", "status", "times"), [(2, 0, 0, 3), (9, 0, 75, 5), (0, 1, 1, 1), (1, 2, 1, 2)]
)
def test_a_ray_job_is_submitted_again_only_while_something_is_left(
    folder: Path, preemptions: int, code: int, status: int, times: int
) -> None:
    stand_in(folder / "bin" / "ray", RAY)
    done = call("ray_job.sh", folder, "-m", STORE="/shared", PREEMPTIONS=str(preemptions), CODE=str(code))
    assert (done.returncode, len(calls(folder))) == (status, times)


def test_machines_reached_by_ssh_get_the_words_and_no_secret_is_among_them(folder: Path) -> None:
    """Ray's start is noted with its environment, and lasts until the sweep is through."""
    note = 'open("rays", "a").write(json.dumps([sys.argv[1:], os.environ["RAY_AUTH_MODE"]]) + "\\n")\n'
    note += 'private = os.path.dirname(sys.argv[-1].partition("=")[2])\n'
    note += 'open("privates", "a").write(f"{private} {os.stat(private).st_mode & 0o777:o}\\n")\n'
    note += 'token = open(os.environ["RAY_AUTH_TOKEN_PATH"]).read()\nopen("tokens", "a").write(token + "\\n")\n'
    stand_in(folder / "bin" / "python", f"{note}import signal; signal.pause()")
    # The sweep is through at once: it waits for both machines' notes, as their Ray is stopped after it.
    noted = "import time\nwhile not (os.path.exists('tokens') and len(open('tokens').readlines()) == 2):\n"
    noted += "    time.sleep(0.05)\n"
    stand_in(folder / "bin" / "eibench-ray", noted + SWEEP)
    (folder / ".venv").symlink_to(folder)
    done = call("ssh_boxes.sh", folder, *HOSTILE, HOSTS="one two", PREEMPTIONS="1")
    assert done.returncode == 0, done.stderr
    assert [given[-len(HOSTILE) :] for given in calls(folder)] == [HOSTILE] * 2
    assert sorted((folder / "hosts").read_text().split()) == ["one"] * 3 + ["two"]
    assert not list(folder.parent.rglob("hacked"))
    assert not list(folder.glob(".ray-token-*"))
    privates = [line.split() for line in (folder / "privates").read_text().splitlines()]
    assert [mode for _, mode in privates] == ["700", "700"]
    until(lambda: not any(Path(private).exists() for private, _ in privates))
    started = [json.loads(line) for line in (folder / "rays").read_text().splitlines()]
    assert {mode for _, mode in started} == {"token"}
    assert sorted(words[3] for words, _ in started) == ["--address=one:6379", "--port=6379"]
    assert {tuple(words[:3]) for words, _ in started} == {("-P", "-m", "eibench_ray.driver.ray_node")}
    (token,) = set((folder / "tokens").read_text().split())
    assert len(token) == 64
    assert token not in (folder / "rays").read_text() + (folder / "calls").read_text()


CELL = ["model=echo", "dataset=demo", "judge=echo", "tracking=none"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def is_up(dashboard: int) -> bool:
    """Whether the dashboard answers: a job that is submitted before costs seconds, and fails."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/api/version", timeout=5):
            return True
    except urllib.error.HTTPError as refused:
        return refused.code == HTTPStatus.UNAUTHORIZED  # it wants the token
    except OSError:
        return False


@pytest.fixture
def ray_head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which jobs are submitted to a cluster that wants a token; its Ray."""
    if importlib.util.find_spec("opencensus") is None:
        pytest.skip("jobs need Ray's dashboard: pip install 'ray[default]'")
    dashboard, short = free_port(), Path(f"/tmp/launch-{secrets.token_hex(3)}")
    (tmp_path / "token").write_text(secrets.token_hex(32))
    (tmp_path / "token").chmod(0o600)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
        "RAY_TMPDIR": str(short),
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    short.mkdir()
    start = [sys.executable, "-P", "-m", "eibench_ray.driver.ray_node", f"--port={free_port()}", "--num-cpus=2"]
    start += ["--num-gpus=0", f"--dashboard-port={dashboard}", f"--temp-dir={short}/r"]
    without = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(start, env=without, stdout=log, stderr=log, start_new_session=True, cwd=short)
    until(lambda: is_up(dashboard))
    yield environment
    head.terminate()  # alone: it ends its own processes in order
    head.wait(60)
    subprocess.run(["rm", "-rf", short], check=True)


@pytest.mark.slow
def test_a_sweep_is_a_job_of_a_real_cluster(tmp_path: Path, ray_head: dict[str, str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = ["bash", str(LAUNCH / "ray_job.sh"), *CELL, "sweep='$(touch hacked)'"]
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(
            command, cwd=work, env=ray_head | {"STORE": str(tmp_path / "store")}, capture_output=True, text=True
        )
        if "submitted successfully" in done.stderr + done.stdout or time.monotonic() > deadline:
            break  # before, there was no agent for its jobs yet
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "head.log").read_text()
    assert "48 new completions" in done.stdout
    assert count_rows(tmp_path / "store") == 48
    assert not list(tmp_path.rglob("hacked"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{ray_head['RAY_ADDRESS']}/api/jobs/", data=b'{"entrypoint": "true"}', timeout=60)
    assert refused.value.code == HTTPStatus.UNAUTHORIZED, "who has no token submits no job"


def count_rows(store: Path) -> int:
    """The rows of a store, none of them twice."""
    files = list(store.glob("steps/*/slice-*.parquet"))
    rows = [(file.parent.name, row) for file in files for row in pq.read_table(file)["sample_id"].to_pylist()]
    assert len(set(rows)) == len(rows)
    return len(rows)


def until(is_true: Any, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_job_of_submitit_is_told_finishes_what_is_in_flight_and_goes_on(tmp_path: Path) -> None:
    slow = ["model.engine.latency_s=0.15", "model.engine.max_num_seqs=2", "store.slice_rows=4", "cluster.num_cpus=2"]
    command = [sys.executable, str(LAUNCH / "submitit_sweep.py"), "--cluster=local", "--gpus=0", "--wait", "--"]
    with (tmp_path / "said").open("w") as said:
        command += [*CELL, *slow, "sweep='$(touch hacked)'"]
        submitted = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    store = tmp_path / "store"
    until(lambda: list(store.glob("steps/*/slice-*.parquet")) or submitted.poll() is not None)
    assert submitted.poll() is None, (tmp_path / "said").read_text()
    (job,) = children_named(psutil.Process(submitted.pid), "submitit.core._submit")
    # As SLURM does it: all processes of the job at once.
    for process in [job, *job.children(recursive=True)]:
        if "Replica" not in process.name():
            process.send_signal(signal.SIGUSR2)
    assert submitted.wait(180) == 0, (tmp_path / "said").read_text()
    log = "".join(path.read_text() for path in (tmp_path / "multirun" / "submitit").glob("*_log.*"))
    assert log.count("Requeued job") == 1
    assert "SIGUSR1: finishing what is in flight" in log
    assert count_rows(store) == 48
    assert not list(tmp_path.rglob("hacked"))
