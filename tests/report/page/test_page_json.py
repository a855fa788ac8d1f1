"""JSON in a page: nothing in it ends a script or acts on a reader, and all of it comes back."""

import json
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.report.page.page_json import to_page_json
from eibench_ray.visible_text import in_page


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>", "&lt;", "<\\/SCRIPT >"])
def test_nothing_ends_the_script(text: str) -> None:
    written = to_page_json({text: [text]})
    assert not set("<>&") & set(written)
    assert json.loads(written) == {text: [text]}


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "\u202eevil", "\ud800", "\x00", "\u2028", "\ufeff"])
def test_what_acts_on_a_reader_is_visible(text: str) -> None:
    written = to_page_json(text)
    assert json.loads(written) == in_page(text) != text
    written.encode()


def test_what_is_no_number_is_null() -> None:
    assert json.loads(to_page_json([nan, inf, 1.5, None, True])) == [None, None, 1.5, None, True]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc<>&\"'\\"), inner),
)


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    assert json.loads(to_page_json(value)) == value
