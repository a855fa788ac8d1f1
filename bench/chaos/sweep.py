"""The command under test: `eibench-ray run -m ...` with its options, and one run of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from bench.chaos.cluster import SLOTS
from bench.chaos.errors import ChaosError

Engine = Literal["echo", "vllm", "vllm-tp"]
CONF = Path(__file__).parent / "conf"
# A replica that makes nothing for so long is killed. On a busy machine, one that only loads slowly must not be.
PROGRESS_TIMEOUT_S = 40.0
# The steps of each setting, for each model: an answer and its verdict; captions are made once for all.
_SETTINGS: Mapping[str, int] = {"chaos_look": 2, "chaos_read": 2}
# At a temperature only echo says the same again, whatever else is asked at once. Each answer, of which `chaos_again`
# has three, has the verdicts of two judges, and two against the one of `chaos_look`.
_ECHO_SETTINGS: Mapping[str, int] = {"chaos_look": 3, "chaos_read": 5, "chaos_again": 15}
MODELS: Mapping[Engine, Sequence[str]] = {
    "echo": ("echo",),
    "vllm": ("tiny_idefics3", "tiny_llava_apart"),
    "vllm-tp": ("tiny_llava_halves",),
}
_VLLM = (
    "judge=tiny_llama",
    "judge.explanation_chars=0",
    "cluster.max_replicas_per_engine=1",
    "judge.sampling.max_tokens=48",
    *(f"{who}.engine.max_model_len=2048" for who in ("model", "captioner", "judge.model")),
)
_OPTIONS: Mapping[Engine, Sequence[str]] = {
    "echo": (
        "model@captioner=echo",
        "judge=chaos_strict,chaos_jury,chaos_pairwise",  # whose engine is the model's
        *(f"{who}.engine.num_gpus=1" for who in ("model", "captioner")),
    ),
    "vllm": ("model@captioner=tiny_idefics3", *_VLLM),
    "vllm-tp": ("model@captioner=tiny_llava_halves", *_VLLM),
}


def num_steps(engine: Engine) -> int:
    """Steps of the sweep, each of which has a row per sample."""
    return 1 + sum(settings_of(engine).values()) * len(MODELS[engine])


def settings_of(engine: Engine) -> Mapping[str, int]:
    """The settings of the sweep, and how many steps each has for one model."""
    return _ECHO_SETTINGS if engine == "echo" else _SETTINGS


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweep that is asked.

    Attributes:
        folder: where runs write.
        work: the folder in which the command works.
        arguments: of `eibench-ray run`, but for the store.
        environment: of the command.
    """

    folder: Path
    work: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    def start(self, store: str, name: str, environment: Mapping[str, str] = {}) -> Run:
        """Starts the command.

        Args:
            store: `store.root`.
            name: of the run's folder, which is new.
            environment: beside the sweep's.
        """
        folder = self.folder / name
        folder.mkdir(parents=True)
        options = [f"store.root={store}", f"hydra.sweep.dir={folder}"]
        return Run(folder, self._popen(["run", "--json", *self.arguments, *options], folder, environment))

    def fsck(self, store: str, *, repair: bool, environment: Mapping[str, str] = {}) -> dict[str, Any]:
        """The problems that `eibench-ray fsck` finds in a store."""
        command = [sys.executable, "-m", "eibench_ray.cli.app", "fsck", "--json", store, *["--repair"] * repair]
        done = subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, check=False
        )
        if not done.stdout:
            raise ChaosError(f"fsck of {store} failed: {done.stderr.strip()[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def _popen(self, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "eibench_ray.cli.app", *arguments],
                cwd=self.work,
                env={**self.environment, **environment},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )


def make_sweep(
    engine: Engine,
    folder: Path,
    work: Path,
    dataset: Path,
    address: str,
    num_nodes: int,
    environment: Mapping[str, str],
    options: Sequence[str],
) -> Sweep:
    """The sweep of one kind of engine over a dataset, on a cluster.

    Args:
        engine: what answers.
        folder: where runs write.
        work: the folder in which the command works.
        dataset: a prepared one.
        address: the cluster's.
        num_nodes: how many nodes are expected, the head included.
        environment: of the command.
        options: further ones, which go before all others.
    """
    arguments = [
        "--config-dir",
        str(CONF),
        "-m",
        f"model={','.join(MODELS[engine])}",
        f"setting={','.join(settings_of(engine))}",
    ]
    arguments += [*_OPTIONS[engine], "dataset=prepared", "dataset.name=chaos", f"dataset.path={dataset}"]
    arguments += ["tracking=none", "cluster=ray", f"cluster.address={address}"]
    arguments += [f"cluster.gpu_resource={SLOTS}", "cluster.gpu_memory_gb=80", f"cluster.expect.nodes={num_nodes}"]
    arguments += ["cluster.stop_timeout_s=10", "cluster.grace_s=5", "cluster.placement_timeout_s=20"]
    arguments += [f"cluster.progress_timeout_s={PROGRESS_TIMEOUT_S:g}", "cluster.start_timeout_s=200", *options]
    return Sweep(folder, work, tuple(arguments), environment)


@dataclass(slots=True)
class Run:
    """One start of the command.

    Attributes:
        folder: its folder, with what it said in `stdout` and `stderr`.
    """

    folder: Path
    process: subprocess.Popen[bytes]
    _read: int = field(default=0, init=False)
    _events: list[dict[str, Any]] = field(default_factory=list, init=False)

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """The ledger so far."""
        ledger = self.folder / "ledger.jsonl"
        if ledger.exists():
            with ledger.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._events += [json.loads(line) for line in whole.splitlines()]
        return self._events

    @property
    def is_working(self) -> bool:
        """Whether it has committed a slice."""
        return any(event["event"] == "slice_committed" for event in self.events)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command, if it still runs."""
        if self.code is None:
            self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """The exit code; None where it has not ended in time."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kills it, if it still runs."""
        self.process.kill()
        self.process.wait()

    @property
    def last_words(self) -> str:
        """The last line on stderr."""
        lines = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def summary(self) -> dict[str, Any]:
        """The command's output for programs; empty where it printed nothing."""
        lines = (self.folder / "stdout").read_text().splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        return found

    @property
    def descendants(self) -> list[psutil.Process]:
        """Its child processes."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
