"""The normalisation of texts: SQuAD's, with each part to be left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.scoring.rules.normal_text import normal_text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Eiffel  Tower.", "eiffel tower"),
        ("an\tapple, A pear", "apple pear"),
        ("Levi's Stadium", "levis stadium"),
        ("Denver-Broncos", "denverbroncos"),
        ("Theatre", "theatre"),
        ("e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}", "été"),
        ("A", "a"),
        ("A.", "a"),
        ("The", "the"),
        ("?!", "?!"),
        ("  ", ""),
        ("«Ja»", "«ja»"),
    ],
)
def test_a_text_is_normalised_as_in_squad(text: str, normal: str) -> None:
    assert normal_text(text) == normal


def test_each_part_can_be_left_out() -> None:
    text = "The Cat, «sat»."

    assert normal_text(text, ignore_case=False) == "Cat «sat»"
    assert normal_text(text, ignore_articles=False) == "the cat «sat»"
    assert normal_text(text, ignore_punctuation="none") == "cat, «sat»."
    assert normal_text(text, ignore_punctuation="all") == "cat sat"


@given(st.text())
def test_it_only_leaves_out(text: str) -> None:
    normal = normal_text(text, ignore_case=False)

    assert normal == " ".join(normal.split())
    assert bool(normal) == bool(text.strip())
