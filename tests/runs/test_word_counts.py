"""Words counted in bytes are those that splitting each text finds."""

from __future__ import annotations

import sys

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from eibench_ray.runs.word_counts import count_words

BLANKS = "".join(character for character in map(chr, range(sys.maxunicode)) if character.isspace())
TEXT = st.text(st.sampled_from(f"ab{BLANKS}\u00e9\u2019\u4e2d\U0001f382\0"), max_size=12) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=6
)


@given(texts=st.lists(st.lists(st.none() | TEXT, max_size=5), max_size=3), first=st.integers(0, 3))
@example([[BLANKS, f"a{BLANKS}b", BLANKS.join("abc")]], 0)
@example([[None], [], ["", "a"]], 0)
def test_words_are_those_of_split(texts: list[list[str | None]], first: int) -> None:
    column = pa.chunked_array([pa.array(chunk, pa.string()) for chunk in texts], pa.string()).slice(first)
    expected = [-1 if text is None else len(text.split()) for text in column.to_pylist()]
    assert count_words(column).tolist() == expected
