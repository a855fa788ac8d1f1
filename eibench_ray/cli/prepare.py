"""`eibench-ray prepare`: datasets from tables, from the Hugging Face hub, and from benchmarks' own files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.benchmark_commands import PrepareCommands
from eibench_ray.cli.console import row_progress, say
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.datasets.source_tables import Table
    from eibench_ray.datasets.writer import PreparedReport

app = typer.Typer(
    cls=PrepareCommands,
    help="Prepare a dataset: annotations and pictures become one folder of Parquet.",
    no_args_is_help=True,
)


Out = Annotated[
    str, typer.Option("--out", help="Folder, s3:// or gs:// to write; a dataset that is already there is replaced.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing-images", help="Leave out samples whose picture is not found, and count them.")
]
Unlabelled = Annotated[
    bool, typer.Option("--unlabelled", help="Samples need no target: `export --as ground-truth` will write one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Images = Annotated[
    list[Path] | None, typer.Option("--images", help="Folder under which pictures are looked up; may be repeated.")
]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="NAME=COLUMN, repeatable: id, target, image (several, in order), or the name of an input for prompts.",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", help="COLUMN or NAME=COLUMN of metadata, repeatable; all other plain columns by default."),
]


@app.command()
def jsonl(
    file: Annotated[
        Path, typer.Argument(help="JSONL, JSON, CSV or TSV, also .gz, .zst, .bz2, .xz; or a folder of such files.")
    ],
    out: Out,
    images: Images = None,
    mapping: Mapping = None,
    keep: Keep = None,
    allow_missing_images: AllowMissing = False,
    unlabelled: Unlabelled = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a dataset from a JSONL, JSON or CSV file with the pictures' paths, or the pictures in base64."""
    from eibench_ray.datasets.text_tables import read_jsonl

    _prepare(partial(read_jsonl, file), out, images, mapping, keep, allow_missing_images, unlabelled, as_json)


@app.command()
def parquet(
    file: Annotated[Path, typer.Argument(help="A Parquet file, or a folder of them.")],
    out: Out,
    images: Images = None,
    mapping: Mapping = None,
    keep: Keep = None,
    allow_missing_images: AllowMissing = False,
    unlabelled: Unlabelled = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a dataset from a Parquet file with the pictures' paths or bytes."""
    from eibench_ray.datasets.parquet_tables import read_parquet

    _prepare(partial(read_parquet, file), out, images, mapping, keep, allow_missing_images, unlabelled, as_json)


@app.command()
def hf(
    name: Annotated[str, typer.Argument(help="A dataset's id on the hub, or a folder.")],
    out: Out,
    split: Annotated[
        str | None, typer.Option("--split", help="The split to prepare; test, where it has several.")
    ] = None,
    images: Images = None,
    mapping: Mapping = None,
    keep: Keep = None,
    allow_missing_images: AllowMissing = False,
    unlabelled: Unlabelled = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a dataset that the `datasets` package reads."""
    from eibench_ray.datasets.hub_tables import read_hf

    _prepare(partial(read_hf, name, split), out, images, mapping, keep, allow_missing_images, unlabelled, as_json)


@app.command("lm-eval")
def lm_eval(
    task: Annotated[Path, typer.Argument(help="A task file of lm-evaluation-harness, or a folder of them.")],
    documents: Annotated[Path, typer.Option("--documents", help="The documents: JSONL, JSON, CSV or Parquet.")],
    out: Out,
    options: Annotated[Path, typer.Option("--options", help="Folder of options to write, for --config-dir.")],
    name: Annotated[str | None, typer.Option("--task", help="The task, where a folder has several.")] = None,
    fewshot: Annotated[Path | None, typer.Option("--fewshot", help="The documents of its examples.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Examples to show; the task's number by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prepare a dataset and its options from a task of lm-evaluation-harness."""
    from eibench_ray.datasets.lm_eval_import import prepare_lm_eval
    from eibench_ray.datasets.lm_eval_task import read_task
    from eibench_ray.datasets.parquet_tables import read_parquet
    from eibench_ray.datasets.text_tables import read_jsonl

    def read(file: Path) -> Table:
        return read_parquet(file) if file.suffix == ".parquet" else read_jsonl(file)

    found = read_task(task, name)
    if num_fewshot is not None:
        found = replace(found, num_fewshot=num_fewshot)
    with row_progress("Preparing") as on_row:
        shots = read(fewshot) if fewshot is not None else None
        report = prepare_lm_eval(found, read(documents), out, options, shots, on_row)
    print_report(report, as_json)


def _prepare(
    read: Callable[[], Table],
    out: str,
    images: list[Path] | None,
    mapping: list[str] | None,
    keep: list[str] | None,
    allow_missing_images: bool,
    unlabelled: bool,
    as_json: bool,
) -> None:
    from eibench_ray.datasets.table_columns import parse_columns
    from eibench_ray.datasets.table_import import prepare_table

    columns = parse_columns(mapping or [], keep or [])
    with row_progress("Preparing") as on_row:
        report = prepare_table(read(), columns, images or [], out, allow_missing_images, unlabelled, on_row)
    print_report(report, as_json)


# Which prompts a dataset brings, for people.
_PROMPTS = {"own": "built-in"}


def print_report(report: PreparedReport, as_json: bool) -> None:
    if as_json:
        datasets = [{"path": path} | asdict(card) for path, card in report.datasets]
        typer.echo(json.dumps({"datasets": datasets, "notes": report.notes}, indent=2, ensure_ascii=False))
        return
    for path, card in report.datasets:
        inputs = ", ".join(f"{name} ({count})" if count < card.rows else name for name, count in card.inputs.items())
        left_out = f", {card.left_out} left out (picture not found)" if card.left_out else ""
        prompts = _PROMPTS.get(card.protocol, card.protocol)
        say(in_line(f"{path}: {card.rows} samples ({inputs}), {card.media} pictures{left_out}, {prompts} prompts"))
    for note in report.notes:
        say(in_line(f"note: {note}"))
