"""Replies that are cut together are cut as each alone."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eibench_ray.runs.cut_replies import cut_replies
from eibench_ray.scoring.judged.json_reply import cut_explanation

PARTS = [
    '"explanation": "',
    '"explanation":"',
    '"explanation"',
    '"expl',
    "anation",
    ': "',
    '"',
    "\\",
    "\\u00e9",
    "é\U0001f382\u2028",
    "rain",
    ', "correct": true}',
    "{",
]
REPLIES = st.none() | st.lists(st.sampled_from([*PARTS[:1] * 4, *PARTS[6:7] * 4, *PARTS]), max_size=8).map("".join)


@settings(max_examples=600, deadline=None)
@given(chunks=st.lists(st.lists(REPLIES, max_size=6), max_size=3), skip=st.integers(0, 2))
@example([['{"expl', 'anation": "rain"}']], 0)
@example([['{"explanation": "a', '"explanation": "rain"}', 'b"explanation": "c"']], 0)
@example([['"explanation": "rain", "explanation": "', '"expl', 'anation"explanation": "rain"']], 0)
@example([['"explanation": "', '"']], 0)
def test_the_same_is_cut_out_of_many_as_out_of_each(chunks: list[list[str | None]], skip: int) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string()) for texts in chunks], pa.string()).slice(skip)
    expected = [cut_explanation(text or "") for text in column.to_pylist()]
    cut = cut_replies(column)
    assert [(cut.rests[code], cut.words_of(place)) for place, code in enumerate(cut.codes.tolist())] == expected
    assert cut.all_words() == [words for _, words in expected]


def test_what_many_say_is_there_once() -> None:
    replies = [f'{{"explanation": "{number} drops", "correct": {number % 3 > 0}}}'.lower() for number in range(99)]
    cut = cut_replies(pa.chunked_array([replies[:50], replies[50:]]))
    assert sorted(cut.rests) == ['{"explanation": "", "correct": false}', '{"explanation": "", "correct": true}']
