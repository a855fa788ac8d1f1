"""The sweep in ray.data.llm: one pipeline after the other, in one process and on one local Ray.

    python ray_data.py step|engine TASK.json OUT

`step`: a pipeline per cell and stage. `engine`: the fewest loads that a careful user gets out of it: one pipeline per
model, with the rows of all its settings, then one per judge, with the answers of all models. Stages that would be
actors of their own without need (tokenising, detokenising) are off.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig
from task import Task

# On a CPU its bundle would ask for a GPU and wait for ever, and its stages need more logical cores than 2.
CPU_BUNDLE = {"bundles": [{"CPU": 1}]}
LOGICAL_CPUS = 8
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING"}


def group(task: Task, by: str) -> Iterator[list[str]]:
    """Steps that share a pipeline, answers before verdicts."""
    for is_verdict in (False, True):
        stage = [step for step, facts in task.steps.items() if bool(facts["answer"]) == is_verdict]
        if by == "step":
            yield from ([step] for step in stage)
        else:
            stage.sort(key=lambda step: task.steps[step]["engine"])
            for _, steps in itertools.groupby(stage, key=lambda step: task.steps[step]["engine"]):
                yield list(steps)


def make_rows(task: Task, steps: list[str]) -> list[dict[str, Any]]:
    """Rows of a pipeline."""
    rows = []
    for step_id in steps:
        step = task.steps[step_id]
        sampling = {key: step[key] for key in ("temperature", "top_p", "max_tokens")}
        for number, (text, picture) in enumerate(task.prompts(step_id)):
            row = {"step": step_id, "number": number, "text": text, "system": step["system"] or ""}
            rows.append(row | {"picture": picture or "", "sampling": sampling})
    return rows


def to_request(row: dict[str, Any]) -> dict[str, Any]:
    """One row as ray.data.llm wants it."""
    content: Any = row["text"]
    if row["picture"]:
        picture = {"type": "image_url", "image_url": {"url": f"file://{row['picture']}"}}
        content = [picture, {"type": "text", "text": row["text"]}]
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return {"messages": [*system, {"role": "user", "content": content}], "sampling_params": row["sampling"]}


def to_row(row: dict[str, Any]) -> dict[str, Any]:
    """Columns of a reply's row."""
    return {
        "step": row["step"],
        "number": row["number"],
        "reply": row["generated_text"],
        "prompt_tokens": row["num_input_tokens"],
        "completion_tokens": row["num_generated_tokens"],
    }


def run_pipeline(task: Task, steps: list[str]) -> None:
    """Asks the rows of some steps of one engine, and writes them."""
    engine = task.engines[task.steps[steps[0]]["engine"]]
    sees = task.steps[steps[0]]["sees_picture"]
    arguments = {key: value for key, value in engine.items() if key not in ("name", "model")}
    pictures = {"allowed_local_media_path": str(task.out.parent)} if sees else {}
    config = vLLMEngineProcessorConfig(
        model_source=engine["model"],
        engine_kwargs={**arguments, **pictures, "enforce_eager": True, "seed": 0},
        runtime_env={"env_vars": ENVIRONMENT},
        batch_size=16,
        concurrency=1,
        tokenize_stage=False,
        detokenize_stage=False,
        prepare_multimodal_stage={"enabled": True, "model_config_kwargs": pictures} if sees else False,
        log_engine_metrics=False,
        placement_group_config=CPU_BUNDLE,
    )
    processor = build_processor(config, preprocess=to_request, postprocess=to_row)
    done = processor(ray.data.from_items(make_rows(task, steps))).to_pandas()
    for step_id in steps:
        own = done[done["step"] == step_id].sort_values("number").to_dict("records")
        task.write(step_id, [(row["reply"], int(row["prompt_tokens"]), int(row["completion_tokens"])) for row in own])


def main() -> None:
    """Runs all pipelines."""
    by, path, out = sys.argv[1:]
    task = Task(Path(path), Path(out))
    ray.init("local", num_cpus=LOGICAL_CPUS, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for steps in group(task, by):
        run_pipeline(task, steps)


if __name__ == "__main__":
    main()
