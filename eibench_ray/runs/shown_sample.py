"""Everything that a run asked and was told about one sample: requests as they were sent, replies, scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.engines.blocker_checks import find_checkpoint_folder
from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.engines.sent_prompt import SentPrompt
from eibench_ray.errors import ConfigError, EngineError, StoreError
from eibench_ray.plan.graph import Cell, EngineSpec, Plan, Step
from eibench_ray.plan.slices import Slice
from eibench_ray.plan.step_names import StepName, name_steps
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.digests import derive_seed
from eibench_ray.rows.request import Request
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.results import Results
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.store.slice_store import Store
from eibench_ray.weights.node_weights import Weights
from eibench_ray.weights.weights_source import PREFIX
from eibench_ray.worker.task_rows import read_rows

# Of these that many ids are looked through for the one that was meant.
_SEARCHED = 20_000

# sent: what is shown is what was sent; changed: it is not any more; the others: nothing was sent.
Trace = Literal["sent", "changed", "not sent", "nothing to ask", "not asked yet"]


@dataclass(frozen=True, slots=True)
class ShownStep:
    """One step's request about the sample, made again from the plan and the dataset, and the reply to it.

    Attributes:
        trace: whether the request is the one that was sent, by the digest that the reply's row carries.
        note: why there is no request, or why it is not the one that was sent; empty where there is nothing to say.
        seeds: of every attempt, in order.
        prompt: the request as the engine sends it; None: as it stands, or `prompt_note` says why there is none.
    """

    step: Step
    name: StepName
    engine: EngineSpec
    cells: tuple[str, ...]  # names of the cells that rest on it
    trace: Trace
    note: str = ""
    request: Request | None = None
    completion: Completion | None = None
    prompt: SentPrompt | None = None
    prompt_note: str = ""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each attempt: where a reply was not accepted, the request was sent again with another one."""
        if self.request is None:
            return ()
        number = self.completion.attempt if self.completion and self.request.accept else 1
        return (self.request.seed, *(derive_seed(self.request.seed, again) for again in range(1, number)))


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample of a run, all that was said about it, and what it scored in each cell."""

    dataset: str
    number: int  # of its row in the dataset, from 0
    sample: Sample
    images: tuple[bytes, ...]
    steps: tuple[ShownStep, ...]  # inputs before what reads them
    cells: tuple[tuple[Cell, JoinedRow], ...]


def show_sample(
    plan: Plan,
    store: Store,
    sample_id: str,
    *,
    step: str | None = None,
    chosen: Mapping[str, str] = {},
    renders: bool = True,
) -> ShownSample:
    """All that a run asked and was told about a sample.

    Args:
        plan: of the run.
        store: the run's.
        sample_id: whose rows.
        step: the name of a step (`answer`), or the beginning of its id; None: all.
        chosen: model, setting, dataset or judge -> the name that a cell must have there.
        renders: whether prompts are made as the engines send them, which takes their tokenizers.

    Raises:
        ConfigError: no cell, step or sample is meant.
        StoreError: the store cannot be read.
    """
    cells = _choose_cells(plan, chosen)
    results = Results(plan, store)
    dataset, number = _find(plan, results, list(dict.fromkeys(cell.dataset for cell in cells)), sample_id)
    cells = [cell for cell in cells if cell.dataset == dataset]
    steps = _choose_steps(plan, cells, step)
    opened = results.dataset(dataset)
    (sample,) = opened.samples(number, number + 1)
    images = opened.images(number, number + 1, [sample_id]).get(sample_id, ())
    names = name_steps(plan)
    shown = [_trace(plan, one, names[one], cells, opened, number, sample_id, store) for one in steps]
    return ShownSample(
        dataset,
        number,
        sample,
        images,
        tuple(_render(shown, images) if renders else shown),
        tuple((cell, results.row(cell, number)) for cell in cells),
    )


def _choose_cells(plan: Plan, chosen: Mapping[str, str]) -> list[Cell]:
    for side, name in chosen.items():
        known = dict.fromkeys(str(getattr(cell, side)) for cell in plan.cells)
        if name not in known:
            raise ConfigError(f"--{side} {name}: the run has no such {side}; it has {', '.join(known)}")
    cells = [cell for cell in plan.cells if all(getattr(cell, side) == name for side, name in chosen.items())]
    if not cells:
        raise ConfigError(f"the run has no cell of {' and '.join(f'--{side} {name}' for side, name in chosen.items())}")
    return cells


def _choose_steps(plan: Plan, cells: Iterable[Cell], wanted: str | None) -> list[str]:
    """Ids of the steps of some cells that have the wanted name or id, in the plan's order."""
    used = {step for cell in cells for step in cell.steps}
    steps = [step for step in plan.steps.values() if step.id in used]
    found = [step.id for step in steps if wanted is None or step.name == wanted or step.id.startswith(wanted)]
    if not found:
        names = ", ".join(dict.fromkeys(step.name for step in steps))
        raise ConfigError(f"--step {wanted}: no step has this name, or an id that begins so; there are {names}")
    return found


def _find(plan: Plan, results: Results, datasets: list[str], sample_id: str) -> tuple[str, int]:
    """The dataset that has the sample, and its row there."""
    known: list[str] = []
    found: list[tuple[str, int]] = []
    for name in datasets:
        rows = plan.datasets[name].rows
        asked = rows if isinstance(rows, range) else frozenset(rows)
        for number, (one, _) in enumerate(results.dataset(name).index().rows(0, rows[-1] + 1)):
            if number not in asked:
                continue
            if one == sample_id:
                found.append((name, number))
            elif len(known) < _SEARCHED:
                known.append(one)
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(
            f"--sample {sample_id}: {' and '.join(name for name, _ in found)} have a sample of this id: add --dataset"
        )
    near = get_close_matches(sample_id, known, n=3) or known[:3]
    raise ConfigError(
        f"--sample {sample_id}: the run has no such sample of {' or '.join(datasets)}; it has, for example, "
        f"{', '.join(near)}"
    )


def _trace(
    plan: Plan,
    step_id: str,
    name: StepName,
    cells: Iterable[Cell],
    dataset: Dataset,
    number: int,
    sample_id: str,
    store: Store,
) -> ShownStep:
    """The step's request and its reply."""
    step = plan.steps[step_id]
    users = tuple(cell.name for cell in cells if step_id in cell.steps)
    row = store.read_rows(step_id, number, [sample_id]).get(sample_id)
    shown = ShownStep(step, name, plan.engines[step.engine], users, "not asked yet", completion=row)
    try:
        (task_row,), _ = read_rows(step, Slice(step_id, 0, number, number + 1), dataset, dataset.index(), store)
    except StoreError:
        return replace(shown, note="what it reads has no answer yet")
    request = task_row.request
    shown = replace(shown, request=request)
    if row is None:
        return shown
    if task_row.input_digest != row.input_digest:
        why = "the sample, or an answer that it reads, has changed since"
        return replace(shown, trace="changed", note=why)
    if request is None:
        is_absent = task_row.is_absent and row.is_absent
        why = task_row.unmade or "an answer that it reads is an error"
        return replace(shown, trace="nothing to ask" if is_absent else "not sent", note="" if is_absent else why)
    if not row.attempt:
        return replace(shown, trace="not sent", note=row.error or "")
    if row.request_digest != request.digest:
        return replace(shown, trace="changed", note="the store's row carries the digest of another request")
    return replace(shown, trace="sent")


def _render(steps: list[ShownStep], images: tuple[bytes, ...]) -> Iterable[ShownStep]:
    """The steps with their requests as the engines send them; each engine's tokenizer is loaded once."""
    made: dict[str, SentPrompt | str] = {}  # by step id; a text says why there is none
    for key in dict.fromkeys(one.engine.key for one in steps):
        mine = [one for one in steps if one.engine.key == key and one.request is not None]
        asked = [(one.request, [images[each.number] for each in one.request.images]) for one in mine if one.request]
        if not asked:
            continue
        try:
            prompts = _show_sent(mine[0].engine, asked)
        except EngineError as error:
            made |= {one.step.id: str(error) for one in mine}
            continue
        made |= {one.step.id: prompt for one, prompt in zip(mine, prompts or (), strict=prompts is not None)}
    for one in steps:
        found = made.get(one.step.id)
        if isinstance(found, SentPrompt):
            yield replace(one, prompt=found)
        else:
            yield replace(one, prompt_note=found or "")


def _show_sent(spec: EngineSpec, asked: list[tuple[Request, list[bytes]]]) -> list[SentPrompt] | None:
    """Requests as an engine sends them; nothing is fetched for it.

    Raises:
        EngineError: they cannot be made here.
    """
    kind, section = kind_of(spec), section_of(spec)
    if (request := kind.weights(section)) is None:
        return kind.show_sent(section, None, asked)
    if not request.source.startswith(PREFIX) and find_checkpoint_folder(request, os.environ, is_local=True) is None:
        raise EngineError(f"{request.source} is not on this machine")
    weights = Weights(request)
    weights.bring()
    return kind.show_sent(section, weights, asked)


def to_json(shown: ShownSample) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "dataset": shown.dataset,
        "row": shown.number,
        "sample": asdict(shown.sample),
        "steps": [_step_to_json(one) for one in shown.steps],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
                "metric": row.metric,
                "value": row.value,
                "scores": [None if score is None else asdict(score) for score in row.scores],
            }
            for cell, row in shown.cells
        ],
    }


def _step_to_json(one: ShownStep) -> dict[str, Any]:
    request = one.request
    return {
        "id": one.step.id,
        "step": one.step.name,
        "title": one.name.title,
        "engine": one.engine.name,
        "cells": list(one.cells),
        "trace": one.trace,
        "note": one.note,
        "messages": None if request is None else messages_of(request),
        "seeds": list(one.seeds),
        "sampling": None if request is None else request.sampling.identity,
        "json_schema": None if request is None else request.json_schema,
        "choices": None if request is None or request.choices is None else asdict(request.choices),
        "prompt": None if one.prompt is None else asdict(one.prompt),
        "prompt_note": one.prompt_note,
        "completion": None if one.completion is None else asdict(one.completion),
    }


def messages_of(request: Request) -> list[dict[str, Any]]:
    """The request's messages; a picture stands in its place by its number in the sample, from 1, and its digest."""
    content = [
        piece
        if isinstance(piece, str)
        else {"image": request.images[piece].number + 1, "digest": request.images[piece].digest}
        for piece in request.content
    ]
    system = [{"role": "system", "content": [request.system]}] if request.system else []
    return [*system, {"role": "user", "content": content}]
