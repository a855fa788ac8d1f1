"""The benchmarks' command lines, and the sweep that they run: options that compose, and a task that peers can read."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench import simulate_paper
from bench.result_file import FOLDER_VARIABLE
from bench.sweep_race import GOALS, order_steps, ratios_of
from bench.sweep_task import Said, compare_rows

ROOT = Path(__file__).resolve().parents[2]
TYPER = ("check", "endpoint_limits", "endpoint_memory", "engines", "replica_vs_chat", "simulate_paper", "sweep_race")


@pytest.mark.parametrize("name", TYPER)
def test_a_benchmark_says_its_options(name: str) -> None:
    app = typer.Typer()
    app.command()(importlib.import_module(f"bench.{name}").main)
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("name", ["driver_rows", "resume_rows", "score_cells"])
def test_an_older_benchmark_says_its_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"bench.{name}").main()
    assert ended.value.code == 0


def test_a_small_simulation_writes_its_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_paper, "NUM_SAMPLES", 32)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    simulate_paper.main(gpus="8", failing="0", seeds=1)
    content = json.loads((tmp_path / "simulate_paper.json").read_text(encoding="utf-8"))
    assert [ratio["name"] for ratio in content["ratios"]] == [
        f"8 GPUs, 0% failing: {policy}_to_shipped" for policy in ("two_phase", "reload_per_cell")
    ]
    assert all(ratio["value"] > 1 for ratio in content["ratios"])


def test_the_readme_names_every_benchmark() -> None:
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "bench").glob("*.py"):
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8"):
            name = "python -m bench.check" if path.stem == "check" else f"`{path.stem}`"
            assert name in text, path.name


def test_peers_render_verdicts_from_answers_on_disk_and_rows_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, as the others do it: two samples, an answer, a verdict."""
    monkeypatch.syspath_prepend(str(ROOT / "bench" / "peers"))
    module = importlib.import_module("task")
    shared = {"engine": "e", "system": None, "sees_picture": True}
    steps = {
        "v": {**shared, "cell": "m/s/j", "prompt": "{{ targets | join('; ') }}? {{ answer }}", "answer": "a"},
        "a": {**shared, "cell": "m/s", "prompt": "{{ question }}", "answer": None},
    }
    samples = [
        {"id": "1", "words": {"question": "Who?", "targets": ["A", "B"]}, "picture": "1.png"},
        {"id": "2", "words": {"question": "Why?", "targets": ["C"]}},
    ]
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"engines": {"e": {}}, "steps": steps, "samples": samples}), encoding="utf-8")
    assert order_steps(path) == ["a", "v"]
    task = module.Task(path, tmp_path / "peer")
    assert task.prompts("a") == [("Who?", "1.png"), ("Why?", None)]
    task.write("a", [("A", 4, 1), ("D", 5, 2)])
    assert task.prompts("v") == [("A; B? A", "1.png"), ("C? D", None)]
    task.write("v", [("Yes.", 9, 1), ("no", 9, 1)])
    board = (tmp_path / "peer" / "leaderboard.jsonl").read_text(encoding="utf-8")
    assert json.loads(board) == {"cell": "m/s/j", "says_yes": 0.5}
    own = {"a": {"1": Said(4, 1, "A"), "2": Said(6, 2, "E")}, "v": {"1": Said(9, 1, "Yes."), "2": Said(9, 1, "no")}}
    counts = compare_rows(own, tmp_path / "peer")
    assert counts == {"rows": 4, "equal_prompt_tokens": 3, "equal_texts": 3, "tokens": 5, "own_tokens": 5}
    with pytest.raises(SystemExit, match="peer has 2 rows of a step, 1 were to be asked"):
        compare_rows({"a": {"1": Said(4, 1, "A")}}, tmp_path / "peer")


def test_a_race_is_held_against_the_mean_of_our_two_runs() -> None:
    line = {"system": "vllm_step", "s": 30.0, "cpu_s": 44.0, "own_s": [8.0, 12.0], "own_cpu_s": [20.0, 20.0]}
    wall, cpu = ratios_of(line)
    assert (wall.name, wall.value, wall.noise, wall.goal) == ("vllm_step: s", 3.0, 0.4, GOALS["vllm_step"])
    assert (cpu.value, cpu.noise, cpu.goal) == (2.2, 0.25, None)


@pytest.mark.parametrize("name", ["bench_quiz", "bench_pictures"])
def test_the_sweeps_are_two_models_in_three_settings_by_two_judges(name: str, tmp_path: Path) -> None:
    arguments = ["plan", "--json", "--config-dir", str(ROOT / "bench" / "options"), f"experiment={name}"]
    arguments += [f"store.root={tmp_path}"]
    if name == "bench_pictures":
        arguments += ["dataset.name=pictures", f"dataset.path={tmp_path}", "dataset.expect_rows=7"]
    environment = {**os.environ, "EIBENCH_BENCH_WORK": str(tmp_path)}
    command = [sys.executable, "-m", "eibench_ray.cli.app", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (len(said["cells"]), len(said["steps"])) == (12, 18)
    assert len(said["engines"]) == (2 if name == "bench_quiz" else 4)
