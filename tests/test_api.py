"""`import eibench_ray as eb`: the example of docs/api.md, what is raised, and what an interrupt does."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import eibench_ray as eb
from eibench_ray.errors import StoreError, UserError

EXAMPLE = re.search(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs/api.md").read_text(), re.DOTALL)
CELL = ("model=echo", "judge=echo", "dataset=demo", "tracking=none")
HEAVY = ("torch", "ray", "vllm", "wandb", "polars", "pyarrow", "pydantic", "hydra", "eibench_ray.api")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("notebook")
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def example(folder: Path) -> dict[str, Any]:
    """The names that the example leaves behind, run in a thread whose event loop runs, as in a notebook."""
    assert EXAMPLE is not None
    assert Path.cwd() == folder
    names: dict[str, Any] = {}

    async def cell() -> None:
        exec(compile(EXAMPLE[1], "docs/api.md", "exec"), names)

    thread = threading.Thread(target=lambda: asyncio.run(cell()))
    thread.start()
    thread.join()
    assert "again" in names
    return names


def test_importing_the_package_imports_nothing_heavy() -> None:
    look = f"import sys, eibench_ray as eb; assert callable(eb.plan); print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    look = f"import sys, eibench_ray.api; print([m for m in {HEAVY[:-1]} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'plans'"):
        eb.plans  # noqa: B018


def test_the_example_plans_runs_and_finds_its_run_again(example: dict[str, Any]) -> None:
    assert str(example["plan"]) == "sweep 'sweep': 2 cells, 96 requests, 0 of them done"
    assert example["plan"].cells.height == 2
    assert example["plan"].steps["requests" if "requests" in example["plan"].steps else "rows"].sum() == 96
    assert example["plan"].engines["num_gpus"].to_list() == [0]
    assert (example["run"].state, dict(example["run"].failures)) == ("finished", {})
    assert (example["again"].id, example["again"].folder) == (example["run"].id, example["run"].folder)


def test_frames_have_a_row_per_cell_sample_and_request(example: dict[str, Any]) -> None:
    run: eb.Run = example["run"]
    assert run.leaderboard.height == 2
    assert run.rows().group_by("setting").len().sort("setting").rows() == [
        ("user_question", 24),
        ("user_question_cot", 24),
    ]
    answers = run.answers()
    assert answers.height == 96
    assert answers["error_kind"].dtype == pl.String
    assert answers["text"].null_count() == 0


def test_the_same_call_asks_nothing_again(example: dict[str, Any], folder: Path) -> None:
    assert example["run"].folder.is_relative_to(folder)
    plan = eb.plan(*example["sweep"])
    assert plan.requests_done == plan.requests == 96


@pytest.mark.usefixtures("folder")
def test_a_sweep_that_cannot_be_planned_raises_the_commands_paragraph() -> None:
    with pytest.raises(UserError, match=r"^model=ecko: there is no such option; did you mean 'echo'\?$"):
        eb.plan("model=ecko", *CELL[1:])
    with pytest.raises(UserError, match="no_such_key"):
        eb.run(*CELL, "no_such_key=1")
    with pytest.raises(StoreError, match="neither the folder of a run"):
        eb.open_run("nothing")


def test_a_folder_of_options_of_ones_own_is_read(folder: Path) -> None:
    (folder / "mine/model").mkdir(parents=True)
    (folder / "mine/model/own_echo.yaml").write_text("defaults:\n  - echo\n  - _self_\n\nname: own_echo\n")
    plan = eb.plan("model=own_echo", *CELL[1:], config_dir=folder / "mine")
    assert plan.cells["model"].to_list() == ["own_echo"]


def test_an_interrupt_commits_what_is_done_and_returns_the_run(tmp_path: Path) -> None:
    sweep = (*CELL, "model.engine.latency_s=0.5", "model.engine.max_num_seqs=1", "store.slice_rows=1")
    # A shell's background job ignores SIGINT, and what it starts does likewise.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    ask = f"import eibench_ray as eb; run = eb.run(*{sweep!r}); print(run.state, run.answers().height)"
    called = subprocess.Popen(
        [sys.executable, "-c", f"{listen}; {ask}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert called.stderr is not None
    assert any("is ready after" in line for line in called.stderr)
    while not list((tmp_path / "store/steps").glob("*/slice-*.parquet")):
        os.sched_yield()
    called.send_signal(signal.SIGINT)
    out, err = called.communicate(timeout=120)
    assert called.returncode == 0, err
    state, num_rows = out.split()
    assert state == "interrupted"
    assert 1 <= int(num_rows) < 48
