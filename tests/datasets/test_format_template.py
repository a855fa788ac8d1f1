import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.datasets.format_template import from_literal, to_jinja
from eibench_ray.errors import DataError

VALUES = {"question": "why?", "record": "{{ 7 }} {% x %}", "reference": "1. a\n2. b"}


def render(text: str) -> str:
    return jinja2.Environment(autoescape=False).from_string(to_jinja(text)).render(VALUES)


@pytest.mark.parametrize(
    ("text", "jinja"),
    [
        ("Tell me: {question}", "Tell me: {{ question }}"),
        ("Say {{mark: a/b}}.", "Say {mark: a/b}."),
        ("{{{record}}}", "{{ '{' }}{{ record }}}"),
        ("{{{{ x }}}}", "{{ '{' }}{ x }}"),
        ("a\n{record}\n", "a\n{{ record }}{{ '\\n' }}"),
    ],
)
def test_to_jinja_writes_readable_templates(text: str, jinja: str) -> None:
    assert to_jinja(text) == jinja


@given(st.lists(st.one_of(st.text("{}%#\n\r a'\\"), st.sampled_from(["{question}", "{record}"]))))
def test_jinja_renders_what_str_format_does(parts: list[str]) -> None:
    text = "".join(part if part.strip("{}") in VALUES else from_literal(part) for part in parts)
    assert render(text) == text.format(**VALUES)


@pytest.mark.parametrize("text", ["{answer}", "{}", "{0}", "{question!r}", "{question:>9}", "open {", "close }"])
def test_a_text_that_no_sample_can_fill_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="double the braces"):
        to_jinja(text)
