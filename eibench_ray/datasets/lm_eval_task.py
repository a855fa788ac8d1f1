"""Task files of lm-evaluation-harness: read with what they include; what is not covered is refused by its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eibench_ray.errors import DataError
from eibench_ray.visible_text import quote, shorten

# Keys that change nothing here: names, and where the harness would fetch the documents.
_UNREAD = frozenset({"task", "task_alias", "tag", "group", "group_alias", "metadata"})
_UNREAD |= {"dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "test_split"}
_UNREAD |= {"fewshot_split", "should_decontaminate", "doc_to_decontamination_query"}
_READ = frozenset({"output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "description", "num_fewshot"})
_READ |= {"target_delimiter", "fewshot_delimiter", "generation_kwargs", "filter_list", "metric_list", "repeats"}
_METRICS = {"generate_until": {"exact_match"}, "multiple_choice": {"acc", "acc_norm"}}


@dataclass(frozen=True, slots=True)
class Extraction:
    """One entry of `filter_list`: what is taken from an answer before it is compared."""

    name: str  # empty where the task has none
    pattern: str | None = None
    take: str = "first"


@dataclass(frozen=True, slots=True)
class LmEvalTask:
    """A task as this project asks and scores it.

    Attributes:
        doc_to_text, doc_to_target, doc_to_choice: Jinja2 texts, or names of columns; a target may be an index, choices
            a list.
        comparison: options of `exact_match`, as the scorer `extracted_match` has them.
    """

    name: str
    is_choice: bool
    doc_to_text: str
    doc_to_target: str | int
    doc_to_choice: str | tuple[str, ...] | None
    description: str
    target_delimiter: str
    fewshot_delimiter: str
    num_fewshot: int
    sampling: Mapping[str, Any]
    extractions: tuple[Extraction, ...]
    comparison: Mapping[str, Any]


def read_task(place: Path, name: str | None = None) -> LmEvalTask:
    """The task of a file, or the one of that name in a folder.

    Raises:
        DataError: there is no such task, or it says what is not covered.
    """
    if not place.is_dir():
        return _to_task(place, _load(place))
    found = {}
    for file in sorted(place.rglob("*.y*ml")):
        said = yaml.load(file.read_text(encoding="utf-8"), _AnyLoader)
        if isinstance(said, dict) and isinstance(said.get("task"), str):
            found[said["task"]] = file
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name not in found:
        raise DataError(f"{place} has no task {name!r}: name one with --task ({shorten(', '.join(found)) or 'none'})")
    return _to_task(found[name], _load(found[name]))


class _AnyLoader(yaml.SafeLoader):
    """Plain values; a function is a text."""


class _Loader(yaml.SafeLoader):
    """Plain values; a function is refused."""


def _refuse_function(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    raise DataError(
        f"{loader.name}: line {node.start_mark.line + 1} calls the Python function {node.value!r}, and no code of a "
        f"task is run: write its documents to a file first, and the task without it"
    )


_AnyLoader.add_constructor("!function", lambda _, node: str(node.value))
_Loader.add_constructor("!function", _refuse_function)


def _load(file: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's keys, over those of the files that it includes."""
    if file.resolve() in seen:
        raise DataError(f"{file} includes itself")
    try:
        with file.open(encoding="utf-8") as opened:
            said = yaml.load(opened, _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} is no task file ({' '.join(str(error).split())})") from error
    if not isinstance(said, dict):
        raise DataError(f"{file} is no task file: it holds no keys")
    included = said.pop("include", None) or []
    merged: dict[str, Any] = {}
    for one in [included] if isinstance(included, str) else included:
        merged |= _load(file.parent / one, (*seen, file.resolve()))
    return merged | said


def _to_task(file: Path, said: Mapping[str, Any]) -> LmEvalTask:
    def refuse(key: str, value: object, why: str) -> DataError:
        return DataError(f"{file}: {key} is {shorten(quote(value))}, {why}")

    for key, value in said.items():
        if key not in _READ | _UNREAD and value not in (None, False, [], {}):
            raise refuse(key, value, "and this importer does not cover that key")
    kind = said.get("output_type", "generate_until")
    if kind not in _METRICS:
        raise refuse("output_type", kind, f"and {' and '.join(_METRICS)} are covered")
    if said.get("repeats", 1) != 1:
        raise refuse("repeats", said["repeats"], "and 1 is covered: set setting.repeats instead")
    for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if kind == "multiple_choice" else [])):
        if said.get(key) is None:
            raise DataError(f"{file} has no {key}")
    metrics = said.get("metric_list") or [{"metric": next(iter(sorted(_METRICS[kind])))}]
    for metric in metrics:
        if metric.get("metric") not in _METRICS[kind]:
            names = " and ".join(sorted(_METRICS[kind]))
            raise refuse("metric_list.metric", metric.get("metric"), f"and of {kind} {names} are covered")
        if metric.get("aggregation", "mean") != "mean":
            raise refuse("metric_list.aggregation", metric["aggregation"], "and mean is covered")
        known = {"metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation", "regexes_to_ignore"}
        if unknown := sorted(metric.keys() - known):
            raise refuse(f"metric_list.{unknown[0]}", metric[unknown[0]], "and this importer does not cover that key")
    choices = said.get("doc_to_choice")
    if isinstance(choices, dict):
        choices = list(choices.values())
    return LmEvalTask(
        name=str(said.get("task") or file.stem),
        is_choice=kind == "multiple_choice",
        doc_to_text=str(said["doc_to_text"]),
        doc_to_target=said["doc_to_target"] if isinstance(said["doc_to_target"], int) else str(said["doc_to_target"]),
        doc_to_choice=tuple(map(str, choices)) if isinstance(choices, list) else choices,
        description=str(said.get("description") or ""),
        target_delimiter=str(said.get("target_delimiter", " ")),
        fewshot_delimiter=str(said.get("fewshot_delimiter", "\n\n")),
        num_fewshot=int(said.get("num_fewshot") or 0),
        sampling=_read_sampling(said, refuse),
        extractions=tuple(_read_filter(one, refuse) for one in said.get("filter_list") or []) or (Extraction(""),),
        comparison={
            "remove": list(metrics[0].get("regexes_to_ignore") or []),
            "ignore_case": bool(metrics[0].get("ignore_case")),
            "ignore_punctuation": bool(metrics[0].get("ignore_punctuation")),
        },
    )


def _read_sampling(said: Mapping[str, Any], refuse: Any) -> Mapping[str, Any]:
    """Sampling of a setting; where a task says nothing, it is greedy, and ends at the delimiter or after 256 tokens."""
    asked = dict(said.get("generation_kwargs") or {})
    until = asked.pop("until", said.get("fewshot_delimiter", "\n\n"))
    drawn = bool(asked.pop("do_sample", asked.get("temperature", 0) > 0))
    sampling = {
        "temperature": float(asked.pop("temperature", 1.0 if drawn else 0.0)) if drawn else 0.0,
        "max_tokens": int(asked.pop("max_gen_toks", asked.pop("max_new_tokens", 256))),
        "stop": [until] if isinstance(until, str) else list(until),
    }
    sampling |= {key: asked.pop(key) for key in ("top_p", "top_k", "min_p") if key in asked}
    asked.pop("temperature", None)
    if asked:
        key = sorted(asked)[0]
        raise refuse(f"generation_kwargs.{key}", asked[key], "and this importer does not cover that key")
    return sampling


def _read_filter(entry: Mapping[str, Any], refuse: Any) -> Extraction:
    name, pattern, take = str(entry.get("name", "")), None, "first"
    for step in entry.get("filter") or []:
        function = step.get("function")
        if function == "regex" and pattern is None:
            pattern = str(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
            if (select := step.get("group_select", 0)) not in (0, -1):
                raise refuse("filter_list.group_select", select, "and 0 (first) and -1 (last) are covered")
            take = "first" if select == 0 else "last"
        elif function not in ("take_first", "remove_whitespace"):
            raise refuse(
                "filter_list.function", function, "and one regex, remove_whitespace and take_first are covered"
            )
    return Extraction(name, pattern, take)
