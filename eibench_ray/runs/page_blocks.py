"""Blocks of the page's texts: what cells sent and were told about some samples, and what judges said of it.

A text that occurs again in a block stands there once.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.request import Request
from eibench_ray.runs.shown_sample import messages_of
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.scoring.scorer import MEMBERS, TARGETS_HIT, Metric, Score

PICTURE_PIXELS = 320  # longer side of a thumbnail


@dataclass(slots=True)
class BlockTexts:
    """Texts of a block, each once."""

    found: dict[str, int] = field(default_factory=dict)

    def place(self, text: str | None) -> int | None:
        """Number of a text; None for none."""
        return None if text is None else self.found.setdefault(text, len(self.found))

    def block(self, **columns: Any) -> dict[str, Any]:
        """The block with its texts; columns without a value are left out."""
        kept = {name: values for name, values in columns.items() if any(value not in (None, []) for value in values)}
        return {"texts": list(self.found), **kept}


def describe_answers(
    rows: Sequence[JoinedRow], requests: Sequence[Mapping[str, Request]], titles: Mapping[str, str]
) -> dict[str, Any]:
    """Prompts and replies of each row, answer by answer."""
    texts = BlockTexts()

    def sent(row: JoinedRow, number: int, answer: Completion | None) -> list[int | None] | None:
        request = requests[number].get(row.sample.sample_id)
        if request is None or answer is None or request.digest != answer.request_digest:
            return None  # nothing was sent, or the words have changed since
        return [texts.place(request.system), texts.place(_show_content(request))]

    return texts.block(
        sent=[[sent(row, number, answer) for number, answer in enumerate(row.answers)] for row in rows],
        answers=[[texts.place(answer.text if answer else None) for answer in row.answers] for row in rows],
        thinking=[_if_any(texts.place(answer.thinking if answer else None) for answer in row.answers) for row in rows],
        errors=[
            _if_any(
                [answer.error_kind, texts.place(answer.error)] if answer and answer.error_kind else None
                for answer in row.answers
            )
            for row in rows
        ],
        facts=[[texts.place(_facts(answer)) for answer in row.answers] for row in rows],
        calls=[
            [
                [
                    titles[step],
                    texts.place(made.text if made.error_kind is None else f"{made.error_kind}: {made.error}"),
                ]
                for step, made in row.made.items()
                if step in titles and not made.is_absent
            ]
            for row in rows
        ],
    )


def describe_scores(rows: Sequence[JoinedRow], metric: Metric) -> dict[str, Any]:
    """Scores of each answer, and the replies of its judges."""
    texts = BlockTexts()

    def score(one: Score | None) -> list[Any] | None:
        if one is None:
            return None
        value = one.values.get(metric.name)
        hits = one.details.get(TARGETS_HIT)
        shown = None if value is None else metric.show(value)
        status = "" if value is not None and one.status == "ok" else str(one.status).replace("_", " ")
        beside = "; ".join(filter(None, (status, _show_members(one, metric))))
        return [value, shown, beside, texts.place(one.explanation), [int(bool(hit)) for hit in hits] if hits else None]

    return texts.block(
        scores=[[[score(one) for one in each.scores] for each in row.by_answer] for row in rows],
        replies=[
            [
                [
                    texts.place(reply.text if reply.error_kind is None else f"{reply.error_kind}: {reply.error}")
                    if reply
                    else None
                    for reply in each.replies
                ]
                for each in row.by_answer
            ]
            for row in rows
        ],
    )


def _show_members(score: Score, metric: Metric) -> str:
    """The scores of a jury's members, in a line; empty for other judges."""
    members = score.details.get(MEMBERS, {})
    return ", ".join(
        f"{name} {metric.show(given) if isinstance(given, float) else str(given).replace('_', ' ')}"
        for name, given in members.items()
    )


def _if_any(values: Iterable[Any]) -> list[Any]:
    """One value per answer; nothing where none has one."""
    found = list(values)
    return found if any(value is not None for value in found) else []


def _show_content(request: Request) -> str:
    pieces = messages_of(request)[-1]["content"]
    return "".join(piece if isinstance(piece, str) else f"[picture {piece['image']}]\n" for piece in pieces)


def _facts(answer: Completion | None) -> str | None:
    """Tokens, time and ending of an answer, in a line."""
    if answer is None or answer.is_absent:
        return None
    seconds = f"{answer.latency_s:.2f} s" if answer.latency_s else ""
    tokens = f"{answer.prompt_tokens:,} tokens in, {answer.completion_tokens:,} out"
    ended = f"ended by {answer.finish_reason}" if answer.finish_reason else ""
    again = f"{answer.attempt} attempts" if answer.attempt > 1 else ""
    return "; ".join(filter(None, (tokens, seconds, ended, again)))


def make_thumbnail(image: bytes) -> str | None:
    """A picture as a small WebP in a data URI; None where it cannot be read."""
    try:
        picture = decode_picture(image)
    except RowError:
        return None
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=70, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
