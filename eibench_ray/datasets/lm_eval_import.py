"""A dataset and option files from a task of lm-evaluation-harness: its texts are rendered document by document."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eibench_ray.datasets.cell_values import ValueRefusedError, to_metadata, to_text
from eibench_ray.datasets.lm_eval_task import LmEvalTask
from eibench_ray.datasets.sample_ids import SampleIds
from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.datasets.table_columns import QUESTION
from eibench_ray.datasets.writer import DatasetWriter, OnRow, PreparedReport, ignore_rows
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import MetadataValue, Sample

CHOICES = "choices"
# A choice's text, for examples: the target is its letter.
_RIGHT = "right_choice"


def prepare_lm_eval(
    task: LmEvalTask, documents: Table, out: str, options: Path, shots: Table | None = None, on_row: OnRow = ignore_rows
) -> PreparedReport:
    """Prepares a task's documents as a dataset at OUT, and writes the options that ask and score it.

    Args:
        task: the task; `num_fewshot` examples are shown.
        documents: those of its test split.
        out: the dataset's folder or URI; that of the examples gets `_examples` at its end.
        options: folder of options, for `--config-dir`.
        shots: documents for the examples.
        on_row: told of progress.

    Raises:
        DataError: a document cannot be rendered, or options of the same names say something else.
    """
    if task.num_fewshot and shots is None:
        raise DataError(
            f"the task {task.name} shows {task.num_fewshot} examples (num_fewshot): give their documents with "
            f"--fewshot FILE, or --num-fewshot 0"
        )
    slug = re.sub(r"\W+", "_", task.name)
    report = _write_dataset(task, documents, out, on_row)
    section: dict[str, Any] = {"name": slug, "path": _absolute(out), "limit": None, "sample": "first", "filter": None}
    section |= {"sample_seed": None, "stratify_by": [], "group_by": [], "examples": None}
    if task.num_fewshot and shots is not None:
        _write_dataset(task, shots, f"{out}_examples", ignore_rows)
        section["examples"] = {"path": f"{_absolute(out)}_examples", "number": task.num_fewshot}
    call: dict[str, Any] = {"name": "answer", "role": "subject", "image": False, "prompt": _prompt(task)}
    if task.is_choice:  # a blank is left out where the prompt ends in one, as the harness does behind a chat template
        prefix = None if task.target_delimiter == " " else task.target_delimiter
        call["choices"] = {"column": CHOICES, "form": "texts", "prefix": prefix, "by": "sum"}
    sampling = {} if task.is_choice else dict(task.sampling)
    setting = {"name": slug, "prompt_source": "own", "sampling": sampling, "calls": [call]}
    files = {f"dataset/{slug}": section, f"setting/{slug}": setting} | _judges(task, slug)
    for name, content in files.items():
        _write_option(options / f"{name}.yaml", content)
    judges = ",".join(name.removeprefix("judge/") for name in files if name.startswith("judge/"))
    notes = [
        f"options in {options}: run them with --config-dir {options} dataset={slug} setting={slug} "
        f"judge={judges}{' -m' if ',' in judges else ''}"
    ]
    if task.is_choice:
        notes.append(
            "choices are compared by their log probabilities, as the harness does it: accuracy is its acc, and "
            "accuracy_norm its acc_norm. A base model takes model.engine.chat_template=package:raw; a chat model has "
            "the prompt in its template, as with the harness's --apply_chat_template"
        )
    return PreparedReport(report.datasets, (*notes, *report.notes))


def _absolute(out: str) -> str:
    return out if "://" in out else str(Path(out).absolute())


def _write_dataset(task: LmEvalTask, documents: Table, out: str, on_row: OnRow) -> PreparedReport:
    renderer, ids = _Renderer(task), SampleIds()
    dropped: dict[str, None] = {}
    with DatasetWriter(out, task.name) as writer:
        for done, (where, doc) in enumerate(documents.rows, start=1):
            if doc is None:
                raise DataError(where)
            try:
                sample = renderer.read(doc)
            except (TemplateError, ValueRefusedError, ValueError, TypeError, LookupError, SyntaxError) as error:
                raise DataError(f"{where} cannot be rendered by the task {task.name}: {error}") from error
            metadata = dict(sample.metadata)
            for name, value in doc.items():
                if name in (QUESTION, CHOICES, _RIGHT, "target", "targets"):
                    continue
                try:
                    metadata[name] = to_metadata(value)
                except ValueRefusedError:
                    dropped[name] = None
            asked = "\n".join([sample.inputs[QUESTION], *sample.targets])
            writer.add(replace(sample, sample_id=ids.make(None, asked), metadata=metadata))
            on_row(done, documents.num_rows)
    notes = [f"not kept, as they are no plain values: the columns {', '.join(dropped)}"] if dropped else []
    return PreparedReport(((writer.path, writer.card),), (*notes, *writer.notes))


class _Renderer:
    """Reads documents as a task's templates say, in Jinja2's sandbox."""

    def __init__(self, task: LmEvalTask) -> None:
        self._task = task
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

    def read(self, doc: Row) -> Sample:
        """The sample of a document, without an id."""
        task = self._task
        question = to_text(self._value(task.doc_to_text, doc))
        target = self._value(task.doc_to_target, doc)
        if not task.is_choice:
            return Sample("", {QUESTION: question}, target=to_text(target))
        choices = self._choices(doc)
        if isinstance(target, str):
            said = target.strip()
            target = choices.index(said) if said in choices else int(said)
        if not (isinstance(target, int) and 0 <= target < len(choices) <= len(ascii_uppercase)):
            raise ValueRefusedError(f"its target {target!r} is none of its {len(choices)} choices")
        listed: dict[str, MetadataValue] = {CHOICES: tuple(choices), _RIGHT: choices[target]}
        return Sample("", {QUESTION: question}, target=ascii_uppercase[target], metadata=listed)

    def _choices(self, doc: Row) -> list[str]:
        said = self._task.doc_to_choice
        value = list(said) if isinstance(said, tuple) else self._value(said or "", doc)
        found = literal_eval(value) if isinstance(value, str) else value
        if not isinstance(found, list | tuple):
            raise ValueRefusedError(f"its choices are {found!r}, and no list")
        return [to_text(choice).strip() for choice in found]

    def _value(self, said: str | int, doc: Row) -> Any:
        """A column, or what a template makes of the document; a number stands for itself."""
        if isinstance(said, int) or said in doc:
            return said if isinstance(said, int) else doc[said]
        return self._environment.from_string(said).render(**doc)


def _prompt(task: LmEvalTask) -> str:
    right = f"{{{{ example.{_RIGHT} }}}}" if task.is_choice else "{{ example.targets[0] }}"
    shown = "{{ example.question }}" + _literal(task.target_delimiter) + right
    loop = f"{{% for example in examples %}}{shown}{_literal(task.fewshot_delimiter)}{{% endfor %}}"
    return _literal(task.description) + (loop if task.num_fewshot else "") + "{{ question }}"


def _literal(text: str) -> str:
    return f"{{{{ {text!r} }}}}" if text else ""


def _judges(task: LmEvalTask, slug: str) -> dict[str, Mapping[str, Any]]:
    if task.is_choice:
        return {f"judge/{slug}": {"name": slug, "kind": "loglikelihood", "options": CHOICES}}
    judges: dict[str, Mapping[str, Any]] = {}
    for one in task.extractions:
        several = len(task.extractions) > 1
        name = re.sub(r"\W+", "_", f"{slug}_{one.name}") if several else slug
        options = {"pattern": one.pattern, "take": one.take, **task.comparison}
        judges[f"judge/{name}"] = {"name": name, "kind": "extracted_match", **options}
    return judges


def _write_option(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise DataError(f"{path} is there and says something else: move it away, or choose another --options folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
