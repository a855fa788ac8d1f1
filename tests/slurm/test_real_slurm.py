"""Sweeps on a real SLURM: preempted, cancelled, out of time, and on a node that loses its power.

The cluster is on this machine: a controller and four nodes in namespaces of their own (../shared/slurmlab). All jobs
are submitted at once and go on beside each other; then each test looks at what became of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eibench_ray.cli.app import main

ROOT = Path(__file__).parents[2]
LAB = ROOT.parent / "shared" / "slurmlab"
BIN = Path(sys.executable).parent
SITE = [
    "tracking=none",
    "cluster.slurm.scratch=/tmp/ray",  # the nodes share all other folders
    "cluster.slurm.gpus_per_node=0",
    "cluster.slurm.cpus_per_node=1",
    "cluster.device=cpu",
    "cluster.grace_s=10",
    "cluster.stop_timeout_s=10",
    "cluster.walltime=00:10:00",
]
ECHO = [
    "model=echo",
    "model.engine.latency_s=1.0",
    "model.engine.max_num_seqs=2",
    "dataset=demo",
    "judge=echo",
    "store.slice_rows=4",
    "cluster.slurm.memory=1000M",
]
# One answer never comes before its jobs have had so many troubles: no sweep is over before. The next job gets it.
HELD = {"defaults": ["echo", "_self_"], "engine": {"hangs_on": "electrify"}}
RESTARTS = '"$(printenv SLURM_RESTART_COUNT || echo 0)"'
LET_GO_AFTER = f"test {RESTARTS} -lt %d || sed -i s/electrify/nothing/ conf/model/held.yaml"
# The second job has 50 s, of which 30 are kept back.
OUT_OF_TIME = f"test {RESTARTS} != 1 || export SLURM_JOB_END_TIME=$(($(date +%s) + 50))"
TROUBLED = [
    "--config-dir=conf",
    "model=held",
    *ECHO[1:],
    "model.engine.latency_s=0.2",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # of a busy machine; a quiet one needs two
    pytest.mark.skipif(not LAB.is_dir(), reason="there is no ../shared/slurmlab, which brings a SLURM up"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give SLURM's nodes namespaces of their own"),
]


def call(*command: str | Path, folder: Path | None = None, **options: Any) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def eibench_ray(folder: Path, *arguments: object) -> str:
    """Output of the command, called in this process, which has imported what it needs."""
    argv = ["eibench-ray", *map(str, arguments)]
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()) as out,
        pytest.MonkeyPatch.context() as own,
    ):
        own.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, out.getvalue()
    return out.getvalue()


def wait_until(is_true: Callable[[], object], what: str, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s\n{call('squeue')}"
        time.sleep(0.3)


class Submitted:
    """A sweep that was submitted from a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        (folder / "conf" / "model").mkdir(parents=True)
        (folder / "conf" / "model" / "held.yaml").write_text(json.dumps(HELD))
        out = eibench_ray(folder, "submit", "slurm", "--json", *SITE, *arguments)
        self.jobs: list[str] = json.loads(out.splitlines()[-1])["jobs"]
        self.submission = Path(json.loads(out.splitlines()[-1])["folder"])

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def has_committed(self) -> bool:
        return any(self.store.rglob("slice-*.parquet"))

    def show(self, field: str) -> str:
        words = call("scontrol", "show", "job", self.jobs[-1]).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{field}="))

    def is_over(self) -> bool:
        return self.show("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    def runs(self) -> list[dict[str, Any]]:
        """The records of its runs, one after the other."""
        found = sorted(self.submission.glob("run-*/run.json"), key=lambda path: path.stat().st_mtime)
        return [json.loads(path.read_text()) for path in found]

    def status(self) -> str:
        return eibench_ray(self.folder, "status", self.submission)

    def watch(self) -> None:
        """Has `status --watch` follow it from another process, into a file."""
        command = [BIN / "eibench-ray", "status", self.submission, "--watch", "--interval", "1"]
        with self.watched.open("wb") as file:
            self.watching = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=subprocess.STDOUT)

    @property
    def watched(self) -> Path:
        return self.folder / "watched.txt"

    def log(self) -> str:
        return "".join(path.read_text() for path in self.submission.glob("*.log"))


def rows_of(store: Path) -> dict[tuple[str, str], str]:
    """The text of each row by step and sample; none is there twice."""
    rows = [
        (step.name, row["sample_id"], row["text"])
        for step in (store / "steps").iterdir()
        for path in step.glob("slice-*.parquet")
        for row in pq.read_table(path, columns=["sample_id", "text"]).to_pylist()
    ]
    texts = {(step, sample): text for step, sample, text in rows}
    assert len(texts) == len(rows)
    return texts


@pytest.fixture(scope="module")
def lab() -> Iterator[Path]:
    """A SLURM of four nodes, for as long as this module's tests take."""
    environment = os.environ | {"NODES": "4"}
    started = subprocess.run(
        [LAB / "start_slurm.sh"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=180,
    )  # fmt: skip
    if started.returncode:
        pytest.skip(f"no SLURM could be brought up here: {started.stdout.strip().splitlines()[-1:]}")
    yield LAB
    subprocess.run([LAB / "stop_slurm.sh"], check=False, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sweeps_on_slurm(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Submitted]:
    """Five sweeps, three with troubles, one as an array and one in two jobs, all of them over."""
    folder = tmp_path_factory.mktemp("slurm")
    on = "+cluster.slurm.options"
    preempted = Submitted(
        folder / "preempted",
        *TROUBLED,
        f"cluster.slurm.setup=['{LET_GO_AFTER % 1}']",
        "cluster.slurm.nodes=2",
        f"{on}.nodelist='n[1-2]'",
    )
    cancelled = Submitted(folder / "cancelled", *TROUBLED, f"{on}.nodelist=n1")  # its held answer never comes
    shared = Submitted(
        folder / "shared", *ECHO, f"{on}.nodelist=n1", "cluster.slurm.form=array", "cluster.slurm.nodes=2",
        "model.engine.latency_s=0.1", "model.engine.fails_on=never",
    )  # fmt: skip
    # Its answers hold a GPU and are made at once, its verdicts need none and take 24 s.
    continued = Submitted(
        folder / "continued", *ECHO, "+cluster.slurm.options.nodelist=n1", "cluster.slurm.gpus_per_node=1",
        "model.engine.num_gpus=1", "model.engine.latency_s=0.1", "model.engine.fails_on=never",
        "judge.model.engine.latency_s=2", "judge.model.engine.max_num_seqs=2", "cluster.slurm.without_gpus.least_s=0",
        "+cluster.slurm.without_gpus.options.nodelist=n1",
    )  # fmt: skip
    powerless = Submitted(
        folder / "powerless", *TROUBLED, f"{on}.exclude='n[1-2]'",
        f"cluster.slurm.setup=['{LET_GO_AFTER % 2}','{OUT_OF_TIME}']",
    )  # fmt: skip
    powerless.watch()

    def take_power() -> None:
        call(lab / "stop_slurm.sh", "node", powerless.show("BatchHost"))

    def cancel() -> None:
        call("scancel", *cancelled.jobs)

    def preempt() -> None:
        call("sbatch", "--partition=high", "--nodelist=n2", "--mem=6000", "--output=/dev/null", "--wrap=sleep 1")

    troubles = {preempted: preempt, cancelled: cancel, powerless: take_power}
    while troubles:  # each comes once its sweep has its first rows
        wait_until(lambda: any(one.has_committed() for one in troubles), "the first rows of a sweep")
        for one in [one for one in troubles if one.has_committed()]:
            troubles.pop(one)()

    varied = {
        "preempted": preempted,
        "cancelled": cancelled,
        "shared": shared,
        "continued": continued,
        "powerless": powerless,
    }
    for name, one in varied.items():
        wait_until(one.is_over, f"the sweep that was {name}: {one.log()}")
    return varied


def test_a_preempted_sweep_on_two_nodes_ends_as_those_that_were_disturbed_elsewhere(
    sweeps_on_slurm: dict[str, Submitted],
) -> None:
    sweep = sweeps_on_slurm["preempted"]
    assert (sweep.show("JobState"), sweep.show("NumNodes")) == ("COMPLETED", "2"), sweep.log()
    first, *_, last = sweep.runs()
    assert (first["state"], last["state"]) == ("preempted", "finished")
    assert int(sweep.show("Restarts")) >= 1
    assert 0 < first["summary"]["completions_new"] < 48
    assert sum(run["summary"]["completions_new"] for run in sweep.runs() if run["summary"]) == 48
    texts = rows_of(sweep.store)
    assert texts == rows_of(sweeps_on_slurm["powerless"].store)
    assert not list(sweep.submission.glob("token-*"))


def test_a_cancelled_job_keeps_what_it_has_committed_and_stays_away(sweeps_on_slurm: dict[str, Submitted]) -> None:
    sweep = sweeps_on_slurm["cancelled"]
    assert sweep.show("JobState") == "CANCELLED"
    assert int(sweep.show("Restarts")) == 0
    (run,) = sweep.runs()
    assert run["state"] in ("preempted", "running")  # this SLURM kills 5 s after TERM, so it may not get to its end
    assert 4 <= len(rows_of(sweep.store)) < 48
    assert re.search(r": (killed|preempted)\. \d+ of 48 requests done", sweep.status())


def test_the_tasks_of_an_array_share_a_sweep_and_the_last_job_scores_it(
    sweeps_on_slurm: dict[str, Submitted],
) -> None:
    sweep = sweeps_on_slurm["shared"]
    assert sweep.show("JobState") == "COMPLETED", sweep.log()
    answers, verdicts, scored = sweep.runs()
    assert [run["summary"]["completions_new"] for run in (answers, verdicts, scored)] == [24, 24, 0]
    assert len(rows_of(sweep.store)) == 48
    assert [row["scored"] for row in scored["summary"]["rows"]] == [24]
    assert [run["slurm_job"] for run in sweep.runs()] == [f"{sweep.jobs[0]}_0", f"{sweep.jobs[1]}_0", sweep.jobs[2]]


def test_what_endpoints_have_left_is_done_in_a_job_without_gpus(sweeps_on_slurm: dict[str, Submitted]) -> None:
    sweep = sweeps_on_slurm["continued"]
    assert sweep.show("JobState") == "COMPLETED", sweep.log()
    asked = [call("scontrol", "show", "job", job) for job in sweep.jobs]
    assert ["TresPerNode=gres:gpu:1" in words for words in asked] == [True, False]
    first, last = sweep.runs()
    assert (first["state"], last["state"]) == ("handed_over", "finished")
    assert [run["slurm_job"] for run in (first, last)] == sweep.jobs
    assert 24 <= first["summary"]["completions_new"] < 48
    assert first["summary"]["completions_new"] + last["summary"]["completions_new"] == len(rows_of(sweep.store)) == 48
    assert [row["scored"] for row in last["summary"]["rows"]] == [24]
    assert "what is left needs no GPU: all 1 are free for others" in sweep.log()
    assert "finished. 48 of 48 requests done" in sweep.status()


def test_a_node_that_loses_its_power_costs_what_was_in_flight(sweeps_on_slurm: dict[str, Submitted]) -> None:
    sweep = sweeps_on_slurm["powerless"]
    first, second, *_ = sweep.runs()
    assert first["state"] == "running"  # it had no time to say anything
    assert second["summary"]["completions_reused"] >= 4
    assert len(rows_of(sweep.store)) == 48
    assert "watching its lease" not in sweep.log(), "the lease is the job's own"


def test_a_job_out_of_time_queues_itself_again_until_all_is_done(sweeps_on_slurm: dict[str, Submitted]) -> None:
    sweep = sweeps_on_slurm["powerless"]
    assert sweep.show("JobState") == "COMPLETED", sweep.log()
    _, *runs = sweep.runs()
    assert len(runs) > 1
    assert [run["state"] for run in runs] == ["preempted"] * (len(runs) - 1) + ["finished"]
    new = sum(run["summary"]["completions_new"] for run in runs)
    assert runs[0]["summary"]["completions_reused"] + new == len(rows_of(sweep.store)) == 48
    assert "the walltime is nearly over" in sweep.log()
    assert "finished. 48 of 48 requests done" in sweep.status()
    assert sweep.watching.wait(120) == 0, sweep.watched.read_text()
    seen = [int(done) for done in re.findall(r"(\d+) of 48 rows", sweep.watched.read_text())]
    # Not only upwards: the next job asks the errors of the one before again.
    assert len(set(seen)) > 2, "its rows were seen to grow"
    assert seen[-1] == 48, "it was followed over all of its jobs"
