"""Labels of a file meet the answers of a run: each is compared, counted, or refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.errors import ConfigError, DataError
from eibench_ray.report.comparison_page import render_comparison_markdown
from eibench_ray.report.comparison_values import to_json
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.label_file import read_labels
from eibench_ray.runs.run_record import new_manifest

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.scoring.cell_comparison import Comparison

YES = "1101000000"  # of the judge, about samples s000 to s009


def judge(**options: Any) -> dict[str, Any]:
    model = {"name": "judge_model", "engine": {"kind": "echo"}, "sees_image": False}
    return {"name": "says", "kind": "correct", "model": model, "prompt": "Grade {{ answer }}", **options}


@pytest.fixture
def compared(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> Any:
    def say(request: Any) -> str:
        number = int(request.sample_id[1:])
        if not request.user.startswith("Grade"):
            return "an answer"
        return json.dumps({"correct": YES[number] == "1"}) if number < 9 else "?"

    def compare(text: str, *configs: Any, name: str = "labels.csv", group_by: tuple[str, ...] = ()) -> Comparison:
        sweeps.write_dataset(emotions={1: "sad", 3: "sad"})
        sweep = sweeps.plan(*(configs or [sweeps.config(judge=judge())]))
        sweeps.ask(sweep, scripted(say))
        manifest = new_manifest(sweep.plan, tmp_path, sweep.config.store, sweep.config.score)
        path = tmp_path / name
        path.write_text(text)
        return compare_runs([(manifest, sweep.store)], ("model",), group_by, labels=read_labels(path))

    return compare


def test_labels_are_compared_and_those_of_no_answer_are_counted(compared: Any) -> None:
    lines = ("id,label,who", "s000,1,a", "s001,true,a", "s002,1,a", "s003,0,b", "s004,FALSE,b", "s009,1,b", "s005,,b")
    comparison = compared("\n".join((*lines, "x1,0,b")))

    [found] = comparison.calibrations
    assert found.accuracy is not None
    assert (found.num_labels, found.bias.n, found.accuracy.value) == (6, 5, 0.6)
    assert (comparison.labels.num_labels, comparison.labels.num_unmatched, comparison.labels.num_empty) == (7, 1, 1)
    assert comparison.labels.unmatched == "labels.csv:9, sample 'x1' of echo/plain/faces/accuracy"
    page = render_comparison_markdown(comparison)
    assert "## Judges against labels: faces, accuracy %" in page
    assert "1 of 7 labels are of no answer of these runs, the first: labels.csv:9, sample 'x1'" in page
    assert "labels.csv without a label: 1" in page
    [values] = to_json(comparison)["calibrations"]
    assert (values["accuracy"], values["bias"], values["labels"], values["n"]) == (0.6, 0.0, 6, 5)
    assert values["accuracy_interval"][0] < 0.6 < values["accuracy_interval"][1]


def test_they_are_compared_by_group(compared: Any) -> None:
    text = "".join(json.dumps({"id": f"s{number:03d}", "label": number < 2}) + "\n" for number in range(8))
    comparison = compared(text, name="labels.jsonl", group_by=("emotion",))

    assert [(one.dataset, one.num_labels, one.accuracy.value) for one in comparison.calibrations] == [
        ("faces", 8, 0.875),
        ("faces (emotion=happy)", 6, 1.0),
        ("faces (emotion=sad)", 2, 0.5),
    ]


def test_what_the_labels_are_about_has_to_be_clear(compared: Any, sweeps: Sweeps) -> None:
    two = sweeps.config(judge=judge()), sweeps.config(judge=judge(), model={"name": "other"})
    with pytest.raises(
        ConfigError, match=r"labels.csv:2 does not say of which model .*echo, other: add a column 'model'"
    ):
        compared("id,label\ns000,1\n", *two)
    comparison = compared("id,model,label\ns000,other,1\ns000,echo,0\ns001,echo,1\n", *two)
    assert [(one.model, one.num_labels) for one in comparison.calibrations] == [(None, 3), ("echo", 2), ("other", 1)]


def test_metrics_are_told_apart(compared: Any, sweeps: Sweeps) -> None:
    rated = judge(name="rates", kind="rubric", scale=[{"value": 1}, {"value": 5}])
    both = sweeps.config(judge=judge()), sweeps.config(judge=rated)
    with pytest.raises(ConfigError, match=r"does not say of which metric .*accuracy, rating"):
        compared("id,label\ns000,1\n", *both)
    assert [one.judge for one in compared("id,metric,label\ns000,accuracy,1\n", *both).calibrations] == ["says"]
    with pytest.raises(ConfigError, match=r"labels.csv:2: 0 is no value of rating, which goes from 1.0 to 5.0"):
        compared("id,metric,label\ns000,rating,0\n", *both)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\ns000,1\ns000,0\n", r"labels.csv:3 labels an answer that labels.csv:2 labels, too"),
        ("id,model,label\ns000,echo,1\ns000,,0\n", r"labels.csv:3 labels an answer that labels.csv:2 labels, too"),
        ("id,label\ns000,good\n", r"labels.csv:2: the label 'good' is neither a number nor true or false"),
        ("id,label\ns000,nan\n", r"the label 'nan' is neither"),
        ("sample,label\ns000,1\n", r"labels.csv:2 has no 'id'"),
        ("id,label\ns000,\n", r"has no label: write one per line"),
        ("id,label\ns000,1,2\n", r"labels.csv:2 \(3 fields, and the first line names 2\): cannot be read"),
        ("id,label\nx,1\ny,0\n", r"none of the 2 labels is of an answer of these runs; the first: labels.csv:2"),
        ("id,label\ns000,2\n", r"labels.csv:2: 2 is no value of accuracy, which goes from 0.0 to 1.0"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(compared: Any, text: str, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        compared(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.csv is no file: name one with a label per line"):
        read_labels(tmp_path / "gone.csv")
