import json
from pathlib import Path

from typer.testing import CliRunner

from eibench_ray.cli.prepare import app
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.errors import DataError


def test_a_table_is_prepared_and_reported_as_json(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "Why?", "labels": ["Sun."]}\n', encoding="utf-8")
    arguments = [
        "jsonl",
        str(file),
        "--out",
        str(tmp_path / "out"),
        "--map",
        "question=text",
        "--map",
        "target=labels",
    ]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["datasets"][0]["rows"] == open_dataset(report["datasets"][0]["path"]).num_rows == 1


def test_the_report_says_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    file = tmp_path / "rows.jsonl"
    rows = [
        '{"question": "Why?", "target": ["Sun."]}',
        '{"question": "Who?", "target": ["Sun."], "image": "a.png"}',
    ]
    file.write_text("\n".join(rows), encoding="utf-8")
    arguments = ["jsonl", str(file), "--out", str(tmp_path / "out"), "--images", str(tmp_path / "pictures")]
    result = CliRunner().invoke(app, [*arguments, "--allow-missing-images"])
    assert "1 samples (question), 0 pictures, 1 left out (picture not found), built-in prompts" in result.stdout


def test_an_error_reaches_the_command_as_one_paragraph(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["parquet", str(tmp_path / "none.parquet"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, DataError)
    assert "none.parquet is not a file" in str(result.exception)
