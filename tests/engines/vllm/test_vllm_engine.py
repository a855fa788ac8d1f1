"""vLLM for real: a tiny model with eyes answers a small sweep, whose engine is killed and then hangs, and goes on."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from needed import need
from PIL import Image

from eibench_ray.config.schema import RunConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver.driver import Driver
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.driver.run_events import Ledger, Snapshot
from eibench_ray.driver.run_progress import RunResult
from eibench_ray.rows.completion import Completion
from eibench_ray.runs.planning import plan_sweep

if TYPE_CHECKING:
    from conftest import Sweeps

need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

QUESTION = "why is she so happy?"
PLAIN, EMPTY, BROKEN, LONG, TOKEN = 3, 4, 5, 6, 7  # 0, 1 and 2 differ by their picture alone; 8 to 15 come after
SETTINGS: Mapping[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0, "max_tokens": 12},
    "sampled": {"temperature": 1.0, "top_p": 0.95, "max_tokens": 12},
}
ENGINE = {
    "kind": "vllm",
    "source": "checkpoint:tiny_idefics3",
    "dtype": "float32",  # so that the rounding of another batch does not tip an answer
    "max_model_len": 1024,
    "max_num_seqs": 8,
    "kv_cache_gib": 0.0625,
    "enforce_eager": True,
}
MODEL = {"name": "tiny", "engine": ENGINE, "sees_image": True}


class KillingLedger(Ledger):
    """A ledger that kills vLLM's own process when the first slice is there, and later stops the next one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.killed: list[int] = []
        self._signals = {1: signal.SIGKILL, 4: signal.SIGSTOP}
        self._num_slices = 0

    def write(self, event: str, **fields: Any) -> None:
        super().write(event, **fields)
        self._num_slices += event == "slice_committed"
        if event == "slice_committed" and (number := self._signals.pop(self._num_slices, None)):
            for process in psutil.Process().children(recursive=True):
                if "EngineCore" in " ".join(process.cmdline()):
                    process.send_signal(number)
                    self.killed.append(process.pid)


class Silence:
    """Nobody listens."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""


def draw(colour: str) -> bytes | None:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (120, 90), colour).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Sweep:
    """The sweep's outcome, its ledger, and its rows by dataset, setting and step."""

    outcome: RunResult
    ledger: list[dict[str, Any]]
    killed: list[int]
    rows: Mapping[tuple[str, str, str], Mapping[int, Completion]]

    def answers(self, dataset: str = "faces", setting: str = "greedy") -> Mapping[int, Completion]:
        return self.rows[dataset, setting, "answer"]


def config(sweeps: Sweeps, dataset: str, setting: str) -> RunConfig:
    cluster = {"name": "local", "num_cpus": 2, "num_gpus": 0, "device": "cpu", "progress_timeout_s": 15.0}
    base = sweeps.config(dataset=dataset, cluster=cluster, slice_rows=4).model_dump()
    call = {"name": "answer", "role": "subject", "image": True, "prompt": "{{ question }}"}
    judge = base["judge"] | {"model": MODEL, "explanation_chars": 12, "sampling": {"max_tokens": 64}}
    setting_ = {"name": setting, "calls": [call], "sampling": SETTINGS[setting]}
    return RunConfig.model_validate(base | {"model": MODEL, "setting": setting_, "judge": judge})


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, sweeps_in: type[Sweeps]) -> Sweep:
    from eibench_ray.weights.build import build_checkpoint

    build_checkpoint("tiny_idefics3")
    folder = tmp_path_factory.mktemp("vllm")
    sweeps = sweeps_in(folder)
    questions = dict.fromkeys(range(16), QUESTION) | {LONG: "so " * 2000, TOKEN: "what is <image> here?"}
    images = {number: draw(colour) for number, colour in enumerate(("red", "blue", "white"))}
    images |= {EMPTY: None, BROKEN: b"no picture"}
    for name in ("faces", "again"):
        sweeps.write_dataset(range(16), questions=questions, images=images, name=name)
    planned = plan_sweep(
        [config(sweeps, name, setting) for name in ("faces", "again") for setting in SETTINGS], must_exist=True
    )
    for step in planned.plan.steps:
        planned.store.fix_slice_rows(step, 4, {})
    ledger = KillingLedger(folder / "ledger.jsonl")
    cluster = planned.config.cluster
    with ray_session(cluster):
        driver = Driver(planned.plan, planned.work, cluster, str(planned.store.paths.root), "run", ledger, Silence())
        outcome = asyncio.run(driver.run())
    rows = {}
    for cell in planned.plan.cells:
        for name, step in (("answer", cell.answer), ("verdict", cell.verdicts[0])):
            found = planned.store.read_rows(
                step, 0, open_dataset(planned.plan.datasets[cell.dataset].path).index().sample_ids
            )
            rows[cell.dataset, cell.setting, name] = {int(sample_id[1:]): row for sample_id, row in found.items()}
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    return Sweep(outcome, lines, ledger.killed, rows)


def test_every_row_is_there_once_although_the_engine_was_killed_and_hung(sweep: Sweep) -> None:
    assert len(sweep.killed) == 2
    killed, hung = (line["reason"] for line in sweep.ledger if line["event"] == "replica_lost")
    assert "vLLM died while it answered s0" in killed
    assert hung.startswith("it hangs: no token and no row for ")
    assert not any(psutil.pid_exists(pid) for pid in sweep.killed)
    assert (sweep.outcome.num_loads, sweep.outcome.failed_engines) == (3, {})
    assert [sorted(rows) for rows in sweep.rows.values()] == [list(range(16))] * 8


def test_no_half_answer_is_stored(sweep: Sweep) -> None:
    """Rows that an engine had in hand when it was lost: tests below compare the texts with those asked again."""
    rows = [row for found in sweep.rows.values() for row in found.values() if row.text is not None]
    assert {row.finish_reason for row in rows} <= {"stop", "length"}
    errors = {row.error_kind for found in sweep.rows.values() for row in found.values()} - {None}
    assert errors == {"image", "prompt", "upstream"}


def test_the_answer_depends_on_the_picture(sweep: Sweep) -> None:
    texts = [sweep.answers()[number].text for number in (0, 1, 2, EMPTY)]
    assert all(texts)
    assert len(set(texts)) == 4


def test_a_sample_without_a_picture_is_answered(sweep: Sweep) -> None:
    row = sweep.answers()[EMPTY]
    assert row.text
    assert row.prompt_tokens < sweep.answers()[0].prompt_tokens


def test_rows_count_what_was_generated(sweep: Sweep) -> None:
    row = sweep.answers()[0]
    assert 0 < row.completion_tokens <= 12
    assert row.attempt == 1
    assert row.engine.startswith("vllm")
    assert "checkpoint:tiny_idefics3" in row.engine


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_the_same_request_again_has_the_same_answer(sweep: Sweep, setting: str) -> None:
    first, again = sweep.answers("faces", setting), sweep.answers("again", setting)
    assert [row.request_digest for row in first.values()] == [row.request_digest for row in again.values()]
    assert [row.text for row in first.values()] == [row.text for row in again.values()]


def test_sampled_answers_differ_from_greedy_ones(sweep: Sweep) -> None:
    assert sweep.answers("faces", "sampled")[0].text != sweep.answers()[0].text


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (BROKEN, "image", "cannot be decoded"),
        (LONG, "prompt", "1024"),
        (TOKEN, "prompt", "the token that stands for a picture"),
    ],
)
def test_a_bad_row_costs_itself_alone(sweep: Sweep, number: int, kind: str, words: str) -> None:
    for dataset in ("faces", "again"):
        row = sweep.answers(dataset)[number]
        assert (row.text, row.error_kind) == (None, kind)
        assert words in (row.error or "")
    errors = {number for number, row in sweep.answers().items() if row.error_kind}
    assert errors == {BROKEN, LONG, TOKEN}


def test_a_strict_verdict_is_json_within_its_bounds(sweep: Sweep) -> None:
    verdicts = sweep.rows["faces", "greedy", "verdict"]
    for number, row in verdicts.items():
        if number in (BROKEN, LONG, TOKEN):
            assert row.error_kind == "upstream"
            continue
        verdict = json.loads(row.text or "")
        assert set(verdict) == {"explanation", "correct", "total"}
        assert 0 <= verdict["correct"] <= verdict["total"] == 2 + number % 3
        assert row.finish_reason == "stop"
