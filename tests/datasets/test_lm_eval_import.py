"""Tests of tasks of lm-evaluation-harness as datasets and options: `lm_eval_task.py` and `lm_eval_import.py`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from eibench_ray.config.hydra_composer import composing
from eibench_ray.config.load import to_config
from eibench_ray.config.options_folder import config_folder
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.lm_eval_import import prepare_lm_eval
from eibench_ray.datasets.lm_eval_task import read_task
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.errors import DataError
from eibench_ray.plan.example_set import ExampleSet
from eibench_ray.plan.prompt_templates import render
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.scoring.rules.extracted_match import ExtractedMatchScorer

TAKE_FIRST = {"function": "take_first"}
SUMS: dict[str, Any] = {
    "task": "sums",
    "dataset_path": "nowhere",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "Sum: {{a}} + {{b}} =",
    "doc_to_target": "{{a}} plus {{b}} #### {{a + b}}",
    "num_fewshot": 0,
    "generation_kwargs": {"until": ["\n\n", "Sum:"], "do_sample": False, "max_gen_toks": 64},
    "filter_list": [
        {
            "name": "strict",
            "filter": [{"function": "regex", "regex_pattern": "#### (\\d+)"}, {"function": "take_first"}],
        },
        {
            "name": "last-number",
            "filter": [
                {"function": "regex", "regex_pattern": "(\\d+)", "group_select": -1},
                {"function": "take_first"},
            ],
        },
    ],
    "metric_list": [{"metric": "exact_match", "ignore_case": True, "regexes_to_ignore": [",", "(?s).*#### "]}],
    "metadata": {"version": 1.0},
}
COLOURS = {
    "task": "colours",
    "output_type": "multiple_choice",
    "doc_to_text": "{{thing}} is",
    "doc_to_choice": "{{options}}",
    "doc_to_target": "right",
    "metric_list": [{"metric": "acc"}],
}


def write(path: Path, content: Any) -> Path:
    """A YAML file."""
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def documents(path: Path, *rows: dict[str, Any]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prepare(folder: Path, task: Path, *rows: dict[str, Any], shots: Path | None = None) -> list[Sample]:
    """The samples that a task makes of documents."""
    table = read_jsonl(documents(folder / "docs.jsonl", *rows))
    few = read_jsonl(shots) if shots else None
    prepare_lm_eval(read_task(task), table, str(folder / "out"), folder / "conf", few)
    return open_dataset(str(folder / "out")).samples(0, 99)


def option(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "conf" / f"{name}.yaml").read_text())
    return found


def num_requests(options: Path, **chosen: str) -> int:
    """Requests of a plan with options of a folder of one's own."""
    overrides = [f"{group}={option}" for group, option in ({"model": "echo", "tracking": "none"} | chosen).items()]
    with composing(config_folder(), "config", [f"hydra.searchpath=[file://{options}]"]) as composer:
        job = composer.compose_sections(overrides)
    assert job
    return sum(left.num_requests for left in plan_sweep([to_config(job.raw)], must_exist=True).work.values())


def test_a_task_that_generates_becomes_a_dataset_a_setting_and_a_judge_per_filter(tmp_path: Path) -> None:
    (sample,) = prepare(tmp_path, write(tmp_path / "sums.yaml", SUMS), {"a": 1200, "b": 34})
    assert (sample.inputs, sample.target) == ({"question": "Sum: 1200 + 34 ="}, "1200 plus 34 #### 1234")
    assert sample.metadata == {"a": 1200, "b": 34}
    setting = option(tmp_path, "setting/sums")
    assert setting["sampling"] == {"temperature": 0.0, "max_tokens": 64, "stop": ["\n\n", "Sum:"]}
    assert render(setting["calls"][0]["prompt"], sample, {}) == "Sum: 1200 + 34 ="
    strict, last = (option(tmp_path, f"judge/sums_{name}") for name in ("strict", "last_number"))
    values = []
    for judge in (strict, last):
        options = {key: value for key, value in judge.items() if key not in ("name", "kind")}
        scorer = ExtractedMatchScorer(**{**options, "remove": tuple(options["remove"])})
        values.append([scorer.read(sample, said, None).values for said in ("It is #### 1234", "1200 and 1234", "34")])
    assert values == [[{"accuracy": 1.0}, {}, {}], [{"accuracy": 1.0}, {"accuracy": 1.0}, {"accuracy": 0.0}]]


def test_what_is_written_composes_and_validates(tmp_path: Path) -> None:
    prepare(tmp_path, write(tmp_path / "sums.yaml", SUMS), {"a": 1, "b": 2})
    assert num_requests(tmp_path / "conf", dataset="sums", setting="sums", judge="sums_strict") == 1


def test_choices_are_compared_by_their_likelihood(tmp_path: Path) -> None:
    task = write(tmp_path / "colours.yaml", COLOURS)
    rows = [
        {"thing": "snow", "options": ["black", "white"], "right": 1},
        {"thing": "coal", "options": ["black"], "right": 0},
    ]
    first, second = prepare(tmp_path, task, *rows)
    assert (first.target, first.metadata["choices"], second.target) == ("B", ("black", "white"), "A")
    (call,) = option(tmp_path, "setting/colours")["calls"]
    assert render(call["prompt"], first, {}) == "snow is"
    assert call["choices"] == {"column": "choices", "form": "texts", "prefix": None, "by": "sum"}
    assert option(tmp_path, "judge/colours")["kind"] == "loglikelihood"
    assert num_requests(tmp_path / "conf", dataset="colours", setting="colours", judge="colours") == 2


def test_examples_of_choices_show_the_right_one(tmp_path: Path) -> None:
    task = write(tmp_path / "colours.yaml", COLOURS | {"num_fewshot": 1, "target_delimiter": ": "})
    shots = documents(tmp_path / "train.jsonl", {"thing": "grass", "options": ["red", "green"], "right": 1})
    (sample,) = prepare(tmp_path, task, {"thing": "coal", "options": ["black", "red"], "right": 0}, shots=shots)
    (shot,) = open_dataset(str(tmp_path / "out_examples")).samples(0, 9)
    (call,) = option(tmp_path, "setting/colours")["calls"]
    examples = ExampleSet(1, (shot,)).shown_to(sample)
    assert render(call["prompt"], sample, {"examples": examples}) == "grass is: green\n\ncoal is"
    assert call["choices"]["prefix"] == ": "


def test_examples_become_a_dataset_of_their_own(tmp_path: Path) -> None:
    task = write(tmp_path / "sums.yaml", SUMS | {"num_fewshot": 1, "description": "Add.\n"})
    with pytest.raises(DataError, match=r"shows 1 examples \(num_fewshot\): give their documents with --fewshot"):
        prepare(tmp_path, task, {"a": 1, "b": 2})
    (sample,) = prepare(tmp_path, task, {"a": 1, "b": 2}, shots=documents(tmp_path / "train.jsonl", {"a": 5, "b": 5}))
    assert option(tmp_path, "dataset/sums")["examples"] == {"path": str(tmp_path / "out_examples"), "number": 1}
    (shot,) = open_dataset(str(tmp_path / "out_examples")).samples(0, 9)
    assert shot.inputs == {"question": "Sum: 5 + 5 ="}
    prompt = option(tmp_path, "setting/sums")["calls"][0]["prompt"]
    shown = ExampleSet(1, (shot,)).shown_to(sample)
    text = "Add.\nSum: 5 + 5 = 5 plus 5 #### 10\n\nSum: 1 + 2 ="
    assert render(prompt, sample, {"examples": shown}) == text


def test_a_task_reads_what_it_includes(tmp_path: Path) -> None:
    write(tmp_path / "base", SUMS)
    task = write(tmp_path / "own.yaml", {"include": "base", "task": "own", "doc_to_text": "a"})
    assert (read_task(task).name, read_task(task).doc_to_text) == ("own", "a")
    write(tmp_path / "other.yaml", COLOURS)
    assert read_task(tmp_path, "colours").is_choice
    with pytest.raises(DataError, match=r"has no task None: name one with --task \(colours, own\)"):
        read_task(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_type": "loglikelihood"}, "output_type is 'loglikelihood', and generate_until and multiple_choice"),
        ({"process_results": "x"}, "process_results is 'x', and this importer does not cover that key"),
        ({"repeats": 4}, r"repeats is .*4.*, and 1 is covered"),
        ({"metric_list": [{"metric": "bleu"}]}, "metric_list.metric is 'bleu', and of generate_until exact_match"),
        ({"generation_kwargs": {"num_beams": 4}}, r"generation_kwargs.num_beams is .*4"),
        ({"filter_list": [{"filter": [{"function": "majority_vote"}]}]}, "filter_list.function is 'majority_vote'"),
        ({"doc_to_target": None}, "has no doc_to_target"),
    ],
)
def test_what_is_not_covered_is_refused_by_its_key_and_value(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_task(write(tmp_path / "sums.yaml", SUMS | changes))


def test_no_code_of_a_task_is_run(tmp_path: Path) -> None:
    task = write(tmp_path / "a.yaml", "task: a\ndoc_to_text: !function utils.text\n")
    with pytest.raises(DataError, match=r"a\.yaml: line 2 calls the Python function 'utils\.text', and no code"):
        read_task(task)
    unsafe = "{{ ''.__class__.__mro__ }}"
    task = write(tmp_path / "sums.yaml", SUMS | {"doc_to_text": unsafe})
    with pytest.raises(DataError, match="cannot be rendered by the task sums: access to attribute '__class__'"):
        prepare(tmp_path, task, {"a": 1, "b": 2})


def test_options_that_say_something_else_are_not_replaced(tmp_path: Path) -> None:
    task = write(tmp_path / "sums.yaml", SUMS)
    prepare(tmp_path, task, {"a": 1, "b": 2})
    write(tmp_path / "conf" / "setting" / "sums.yaml", "name: mine\n")
    with pytest.raises(DataError, match=r"sums\.yaml is there and says something else"):
        prepare(tmp_path, task, {"a": 1, "b": 2})
