r"""Rows that are a conversation: what the user asks becomes the question, the reply the target.

>>> said = [{"from": "human", "value": "<image>\nWhy?"}, {"from": "gpt", "value": "It rains."}]
>>> read_conversation({"conversations": said})
{'question': 'Why?', 'target': 'It rains.'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eibench_ray.datasets.cell_values import ValueRefusedError, is_missing, to_text
from eibench_ray.datasets.source_tables import Row
from eibench_ray.datasets.table_columns import QUESTION
from eibench_ray.rows.sample import TARGET
from eibench_ray.visible_text import quote, shorten

COLUMNS = ("conversations", "conversation", "messages")
# Who speaks, as the shapes of chat data (OpenAI's, ShareGPT's, LLaVA's) call them.
_SPEAKERS = {"user": QUESTION, "human": QUESTION, "assistant": TARGET, "gpt": TARGET, "system": "system"}
_PLACEHOLDER = "<image>"  # where a picture stands; prompts of this project say that themselves


def find_conversation(row: Row) -> str | None:
    """The column that holds a conversation; None where the row has a question of its own, or none is there."""
    if QUESTION in row:
        return None
    return next((name for name in COLUMNS if name in row and _is_conversation(row[name])), None)


def read_conversation(row: Row) -> Row:
    """The row with `question`, `target` and `system` instead of its conversation; without one, as it is.

    Raises:
        ValueRefusedError: it has more than one question, or somebody speaks whom nobody knows.
    """
    if (column := find_conversation(row)) is None:
        return row
    said: dict[str, str] = {}
    turns = row[column]
    assert isinstance(turns, Sequence)
    for number, turn in enumerate(turns, start=1):
        speaker = turn.get("role", turn.get("from"))
        if (name := _SPEAKERS.get(str(speaker).lower())) is None:
            raise ValueRefusedError(f"turn {number} is said by {quote(speaker)}, and not by {', '.join(_SPEAKERS)}")
        if name in said or (name == QUESTION and TARGET in said):
            raise ValueRefusedError(
                f"turn {number} is a second {name}, and a sample asks once: make a row of each question"
            )
        said[name] = _read_content(turn.get("content", turn.get("value")), number)
    return {name: value for name, value in row.items() if name != column} | said


def _is_conversation(value: object) -> bool:
    is_list = isinstance(value, list | tuple) and bool(value)
    return is_list and all(  # of turns
        isinstance(turn, Mapping) and {"role", "from"} & turn.keys() and {"content", "value"} & turn.keys()
        for turn in value  # type: ignore[attr-defined]
    )


def _read_content(content: object, number: int) -> str:
    """The text of a turn, which may be a list of parts; pictures stand in a column of their own."""
    parts = content if isinstance(content, list | tuple) else [{"type": "text", "text": content}]
    texts = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in ("text", "image"):
            raise ValueRefusedError(f"turn {number} has a part that is neither text nor image: {shorten(quote(part))}")
        if kind == "text" and not is_missing(part.get("text")):
            texts.append(to_text(part.get("text")))
    return "\n".join(texts).replace(_PLACEHOLDER, "").strip()
