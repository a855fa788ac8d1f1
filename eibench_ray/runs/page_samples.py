"""Samples as the page shows them: an index of all that it filters by, and texts in blocks that are read when looked at.

    index-0                 ids and groups of the samples of set 0; of each of its cells, values and how answers ended
    samples-0-3             texts and pictures of its samples 768 to 1,023
    answers-2-3             what cells with the answers 2 sent and were told about these
    scores-5-3              what judges said of them in cell 5

A text that occurs again in a block stands there once. Cells whose judges read the same answers share those blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from eibench_ray.config.report_section import ReportConfig
from eibench_ray.datasets.dataset import Dataset
from eibench_ray.errors import StoreError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.slices import Slice
from eibench_ray.plan.step_names import StepName
from eibench_ray.rows.request import Request
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.page_blocks import BlockTexts, describe_answers, describe_scores, make_thumbnail
from eibench_ray.runs.results import Results
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.scoring.sample_groups import read_column
from eibench_ray.store.slice_store import Store
from eibench_ray.visible_text import shorten
from eibench_ray.worker.task_rows import read_rows

Add = Callable[[str, Any], None]

BLOCK_ROWS = 256
MOST_PICTURE_BYTES = 64 << 20  # of all thumbnails of a page; samples after that have none, and each of them says so
_LEAD = 110  # characters of a sample's first text in the list
_FLAGS = ("is_truncated", "is_empty", "is_cut_while_thinking", "is_refused")  # bit 0, 1, ..


@dataclass(frozen=True, slots=True)
class PageCell:
    """A cell whose samples the page holds, with what reads it."""

    cell: Cell
    results: Results
    plan: Plan
    store: Store
    names: Mapping[str, StepName]  # of the plan's steps
    answers: str  # the same for cells that graded the very same answers
    samples: str  # the same for cells with the very same samples


class PageSamples:
    """Writes the samples of a page, a range of rows after the other.

    Args:
        cells: in the page's order.
        options: how many samples of each dataset are written, and whether thumbnails are; the others are counted.
        group_by: columns that samples can be filtered by; None: those of their datasets.
        add: takes a block by its name.
    """

    def __init__(
        self, cells: Sequence[PageCell], options: ReportConfig, group_by: Sequence[str] | None, add: Add
    ) -> None:
        self._cells = cells
        self._most = options.samples
        self._has_pictures = options.pictures == "thumbnails"
        self._group_by = group_by
        self._add = add
        self.num_samples = self.num_pictures = self.num_unshown = 0
        self._picture_bytes = 0

    def write(self) -> dict[str, Any]:
        """Writes all blocks; the sets of samples and the cells, as the page's frame needs them."""
        of_set: dict[str, list[int]] = {}
        of_answers: dict[str, int] = {}
        for number, one in enumerate(self._cells):
            of_set.setdefault(one.samples, []).append(number)
        sets = [self._write_set(number, members, of_answers) for number, members in enumerate(of_set.values())]
        cells = [
            {
                "names": [one.cell.model, one.cell.setting, one.cell.dataset, one.cell.judge],
                "answers": of_answers[one.answers],
                "seats": _seats(one.cell),
                "metric": (metric := one.results.metrics(one.cell)[0]).heading,
                "direction": metric.direction,
                "binary": metric.is_binary,
                "set": list(of_set).index(one.samples),
            }
            for one in self._cells
        ]
        return {"sets": sets, "cells": cells, "blockRows": BLOCK_ROWS}

    def _write_set(self, number: int, members: Sequence[int], of_answers: dict[str, int]) -> dict[str, Any]:
        first = self._cells[members[0]]
        spec, dataset = first.plan.datasets[first.cell.dataset], first.results.dataset(first.cell.dataset)
        group_by = self._group_by if self._group_by is not None else self._groups_of(members)
        ids, leads, codes = list[str](), list[str](), {name: _Codes() for name in group_by}
        shown = islice(first.results.samples(first.cell.dataset), self._most)
        for block, samples in enumerate(_batches(shown, BLOCK_ROWS)):
            for sample in samples:
                ids.append(sample.sample_id)
                leads.append(shorten(" ".join(next(iter(sample.inputs.values()), "").split()), _LEAD))
                for name, column in codes.items():
                    column.add(read_column(sample.metadata, name))
            self._add(f"samples-{number}-{block}", self._describe(samples, spec.rows, block, dataset))
        index: dict[str, Any] = {
            "ids": ids,
            "leads": leads,
            "groups": {name: column.value for name, column in codes.items()},
            "cells": {},
        }
        for place in members:
            one = self._cells[place]
            is_new = one.answers not in of_answers
            answers = of_answers.setdefault(one.answers, len(of_answers))
            index["cells"][place] = self._write_cell(place, answers if is_new else None, len(ids))
        self._add(f"index-{number}", index)
        self.num_samples += len(ids)
        self.num_unshown += spec.num_rows - len(ids)
        return {"dataset": first.cell.dataset, "total": spec.num_rows, "shown": len(ids), "cells": list(members)}

    def _groups_of(self, members: Sequence[int]) -> list[str]:
        cells = [self._cells[place] for place in members]
        return list(dict.fromkeys(name for one in cells for name in one.plan.datasets[one.cell.dataset].group_by))

    def _describe(self, samples: Sequence[Sample], rows: Sequence[int], block: int, dataset: Dataset) -> dict[str, Any]:
        texts, thumbnails = BlockTexts(), dict[str, int]()
        pictures: list[list[int]] = []
        if self._has_pictures and self._picture_bytes < MOST_PICTURE_BYTES:
            place = block * BLOCK_ROWS
            images = dataset.images(
                rows[place],
                rows[place + len(samples) - 1] + 1,
                [sample.sample_id for sample in samples if sample.media],
            )
            for sample in samples:
                made = [thumbnail for image in images.get(sample.sample_id, ()) if (thumbnail := make_thumbnail(image))]
                pictures.append([thumbnails.setdefault(one, len(thumbnails)) for one in made])
            self.num_pictures += len(thumbnails)
            self._picture_bytes += sum(map(len, thumbnails))
        described = texts.block(
            inputs=[[[name, texts.place(text)] for name, text in sample.inputs.items()] for sample in samples],
            targets=[[texts.place(text) for text in sample.targets] for sample in samples],
            metadata=[
                [[name, "; ".join(value) if isinstance(value, tuple) else str(value)] for name, value in known]
                for known in ([it for it in sample.metadata.items() if it[1] is not None] for sample in samples)
            ],
            media=[[media.path for media in sample.media] for sample in samples],
            pictures=pictures,
        )
        return described | ({"thumbnails": list(thumbnails)} if thumbnails else {})

    def _write_cell(self, place: int, answers: int | None, num: int) -> dict[str, Any]:
        """Writes the blocks of a cell; its part of the index. `answers`: the number of answers that are new."""
        one = self._cells[place]
        metric = one.results.metrics(one.cell)[0]
        values, kinds, flags = _Codes(), _Codes(), list[int]()
        sent = _SentPrompts(one) if answers is not None else None
        for block, rows in enumerate(_batches(islice(one.results.join(one.cell), num), BLOCK_ROWS)):
            for row in rows:
                value = row.value
                values.add(None if value is None else (round(value, 6), metric.show(value)))
                flags.append(_flags_of(row))
                kinds.add(_trouble(row))
            if sent is not None:
                numbers = one.plan.datasets[one.cell.dataset].rows[block * BLOCK_ROWS : block * BLOCK_ROWS + len(rows)]
                self._add(f"answers-{answers}-{block}", describe_answers(rows, sent.read(numbers), sent.titles))
            self._add(f"scores-{place}-{block}", describe_scores(rows, metric))
        return {"values": values.value, "flags": flags, "troubles": kinds.value}


@dataclass(slots=True)
class _Codes:
    """A column of which each different value stands once."""

    codes: list[int] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        """Adds a value; None has the code -1."""
        self.codes.append(-1 if value is None else self.known.setdefault(value, len(self.known)))

    @property
    def value(self) -> dict[str, Any]:
        """The column as plain values."""
        return {"levels": list(self.known), "codes": self.codes}


class _SentPrompts:
    """Prompts as they were sent, made again from the plan and the store."""

    def __init__(self, one: PageCell) -> None:
        self._one = one
        self._dataset = one.results.dataset(one.cell.dataset)
        self._index = self._dataset.index()
        own = (*one.cell.answers, *one.cell.verdicts)
        self.titles = {step: one.names[step].what for step in one.cell.steps if step not in own}  # of earlier calls

    def read(self, rows: Sequence[int]) -> list[dict[str, Request]]:
        """By answer and sample id, the requests about some rows, ascending; of those that can be made again."""
        return [self._read(step, rows) for step in self._one.cell.answers]

    def _read(self, step: str, rows: Sequence[int]) -> dict[str, Request]:
        if not rows:
            return {}
        wanted = set(rows)
        chosen = sum(1 << number for number in range(rows[-1] + 1 - rows[0]) if rows[0] + number in wanted)
        part = Slice(step, 0, rows[0], rows[-1] + 1, None if len(rows) == rows[-1] + 1 - rows[0] else chosen)
        try:
            found, _ = read_rows(self._one.plan.steps[step], part, self._dataset, self._index, self._one.store)
        except StoreError:  # an answer that it reads is not there yet
            return {}
        return {row.sample.sample_id: row.request for row in found if row.request is not None}


def _seats(cell: Cell) -> list[str]:
    """Names of the judge's replies on an answer, in their order."""
    repeated = {name for name, repeat in cell.seats if repeat}
    return [
        ", ".join(filter(None, (name, f"repeat {repeat + 1}" if name in repeated else "", order)))
        for (name, repeat), order in zip(cell.seats, cell.orders, strict=True)
    ]


def _flags_of(row: JoinedRow) -> int:
    return sum(
        1 << bit for bit, name in enumerate(_FLAGS) if any(answer and getattr(answer, name) for answer in row.answers)
    )


def _trouble(row: JoinedRow) -> str | None:
    """The reason for which a row has no score, in a word or two; None where it has one."""
    for answer in row.answers:
        if answer is not None and answer.error_kind:
            return f"answer: {answer.error_kind}"
    for reply in row.replies:
        if reply is not None and reply.error_kind:
            return f"judge: {reply.error_kind}"
    if row.value is not None:
        return None
    statuses = [one.status for one in row.scores if one is not None]
    return str(statuses[0]).replace("_", " ") if statuses else "not asked yet"


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch
