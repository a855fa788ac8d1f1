"""Prompt templates: what they read, and that they give back every text as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from jinja2.sandbox import SecurityError

from eibench_ray.datasets.format_template import from_literal, to_jinja
from eibench_ray.errors import PlanError
from eibench_ray.plan.prompt_templates import render, render_placed, words_in
from eibench_ray.rows.sample import Media, Sample

SAMPLE = Sample(
    "a",
    {"question": "why?", "caption": "A beach."},
    (),
    ("Sun.", "Sea."),
    {"emotion": "happy", "level": 3, "gone": None},
)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", set()),
        ("no word", set()),
        ("{{ question }}", {"question"}),
        ("{{question}}{{ answer }} {{ question | upper }}", {"question", "answer"}),
        ("{% for trigger in targets %}{{ loop.index }}. {{ trigger }}{% endfor %}", {"targets"}),
        ("{% if caption %}{{ emotion }}{% endif %}", {"caption", "emotion"}),
        ("{# {{ hidden }} #}", set()),
        ("{score: 1/2} {'a': {'b': 1}}", set()),
    ],
)
def test_the_words_that_a_prompt_reads(template: str, words: set[str]) -> None:
    assert words_in(template) == words


@pytest.mark.parametrize("template", ["{{ question", "{% for x %}", "{{ question | nothing }}", "{% endif %}"])
def test_what_is_no_template_is_told(template: str) -> None:
    with pytest.raises(PlanError, match="is not a Jinja2 template"):
        words_in(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ question }} {score: 1/2}", "why? {score: 1/2}"),
        ("{{ targets | length }}: {{ targets | join(' ') }}", "2: Sun. Sea."),
        ("{% for trigger in targets %}{{ loop.index }}. {{ trigger }}\n{% endfor %}", "1. Sun.\n2. Sea.\n"),
        ("{{ caption }} {{ emotion }} {{ level + 1 }} {{ target[1] }}", "A beach. happy 4 Sea."),
        ("{% if gone %}{{ gone }}{% else %}none{% endif %} {{ gone | default('no') }}", "none no"),
    ],
)
def test_a_prompt_is_rendered(template: str, text: str) -> None:
    assert render(template, SAMPLE, {}) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [("index", "12"), ("index0", "01"), ("revindex", "21"), ("first", "TrueFalse"), ("last", "FalseTrue")],
)
def test_a_loop_knows_its_numbers(number: str, text: str) -> None:
    assert render(f"{{% for trigger in targets %}}{{{{ loop.{number} }}}}{{% endfor %}}", SAMPLE, {}) == text


def test_an_answer_stands_before_a_field_of_the_same_name() -> None:
    assert render("{{ caption }}", SAMPLE, {"caption": "made"}) == "made"


@pytest.mark.parametrize(
    "prompt", ["{{ answer }}", "{{ gone }}", "{{ 'a' ~ gone }}", "{{ gone | upper }}", "{{ gone + 1 }}"]
)
def test_a_word_that_is_not_there_is_no_empty_text(prompt: str) -> None:
    with pytest.raises(UndefinedError, match=r"answer|gone"):
        render(prompt, SAMPLE, {})


def test_an_input_stands_before_metadata_and_the_target_before_both() -> None:
    sample = Sample("a", {"topic": "input", "target": "input"}, target=4, metadata={"topic": "metadata"})
    assert render("{{ topic }} {{ target + 1 }} {{ targets }}", sample, {}) == "input 5 ('4',)"


PICTURED = replace(SAMPLE, media=(Media("a.png", "i1"), Media("b.png", "i2")))


@pytest.mark.parametrize(
    ("template", "text", "images"),
    [
        ("{{ question }}", "why?", [(0, "i1", 0), (1, "i2", 0)]),
        ("A: {{ image(2) }} B", "A:  B", [(0, "i1", 0), (1, "i2", 3)]),
        ("{{ image(2) }} or {{ image(1) }}", " or ", [(1, "i2", 0), (0, "i1", 4)]),
        ("{% for picture in images %}{{ loop.index }}{{ picture }}{% endfor %}", "12", [(0, "i1", 1), (1, "i2", 2)]),
    ],
)
def test_pictures_stand_where_the_prompt_says_and_the_others_before_the_text(
    template: str, text: str, images: list[tuple[int, str, int]]
) -> None:
    placed = render_placed(template, PICTURED, {})
    assert placed.text == text
    assert [(one.number, one.digest, one.at) for one in placed.images] == images


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ image(3) }}", r"image\(3\), and the sample has the pictures 1 to 2"),
        ("{{ image(1) }}{{ image(1) }}", r"places image\(1\) twice"),
        ("{{ image(2) }}{{ image(1) }}{{ image(2) }}{{ image(1) }}", r"places image\(1\) twice"),
        ("{{ image(0) }}", r"image\(0\), and the sample has the pictures 1 to 2"),
        ("{{ 'a' ~ image(1) }}", r"write \{\{ image\(1\) \}\} as it is"),
    ],
)
def test_a_picture_that_is_missing_stands_twice_or_is_changed_is_refused(template: str, why: str) -> None:
    with pytest.raises(UndefinedError, match=why):
        render_placed(template, PICTURED, {})


def test_a_prompt_cannot_reach_into_python() -> None:
    for prompt in (
        "{{ question.__class__.__mro__ }}",
        "{% for trigger in targets %}{{ loop.__class__.__mro__ }}{% endfor %}",
        "{% for trigger in targets %}{{ loop.__init__ }}{% endfor %}",
    ):
        with pytest.raises(SecurityError):
            render(prompt, SAMPLE, {})


@given(st.text())
def test_what_a_model_says_is_never_read_as_a_template(text: str) -> None:
    assert render("<{{ answer }}>", SAMPLE, {"answer": text}) == f"<{text}>"


@given(st.text(max_size=30))
def test_a_protocols_text_comes_out_as_it_was(text: str) -> None:
    assert render(to_jinja(from_literal(text)), SAMPLE, {}) == text
