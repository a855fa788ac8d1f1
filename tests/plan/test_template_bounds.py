"""A prompt is a program: what it may make, and how long it may take, is bounded; what needs little is as before."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from eibench_ray.plan import template_bounds
from eibench_ray.plan.fanout import ItemAnswer
from eibench_ray.plan.prompt_templates import RENDER_ERRORS, find_excess, render
from eibench_ray.plan.template_bounds import (
    MAX_CHARS,
    MAX_STEPS,
    MAX_WIDTH,
    TemplateBoundError,
    count,
    renew_budget,
    tick,
)
from eibench_ray.rows.sample import Sample

SAMPLE = Sample("a", {"question": "why?", "caption": "A beach."}, target=tuple(f"t{number}" for number in range(20)))


def doubled(step: str) -> str:
    return "{% set a = 'aaaaaaaaaa' %}" + step * 40 + "{{ a }}"


BOMBS = [
    "{{ 'a' * 2000000000 }}",
    "{{ 2000000000 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ '\t'.expandtabs(10**9) }}",
    "{{ 'a' | indent(10**9, true) }}",
    "{{ {'a': 1} | tojson(10**9) }}",
    "{{ [1] | batch(10**9, 'x') | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ targets | map('center', 10**9) | list }}",
    "{% filter center(10**9) %}a{% endfilter %}",
    "{{ '%2000000000d' % 3 }}",
    "{{ '%*d' % (2000000000, 3) }}",
    "{{ '%2000000000d' | format(3) }}",
    "{{ '{:>2000000000}'.format('x') }}",
    "{{ '{:>{}}'.format('x', 2000000000) }}",
    "{{ '{a:>2000000000}'.format_map({'a': 'x'}) }}",
    "{{ 2 ** (10**9) }}",
    "{{ ('9' * 4000) | int }}",
    "{{ 1.5 | round(10**9) }}",
    "{{ (1).to_bytes(10**9, 'big') }}",
    "{% set x = 3 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    doubled("{% set a = a ~ a %}"),
    doubled("{% set a = a + a %}"),
    doubled("{% set a %}{{ a }}{{ a }}{% endset %}"),
    doubled("{% set a = [a, a] | join %}"),
    doubled("{% set a = ''.join([a, a]) %}"),
    doubled("{% set a = a | replace('a', 'aa') %}"),
    doubled("{% set a = a.replace('a', 'aa') %}"),
    doubled("{% set a = '%s%s' % (a, a) %}"),
    doubled("{% set a = '{0}{0}'.format(a) %}"),
    "{% for c in 'a' * 1000000 %}" + "y" * 10000 + "{% endfor %}",
    "{% set x = 'a' * 10000 %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
]


@pytest.mark.parametrize("template", BOMBS)
def test_what_would_take_all_memory_is_refused_before_it_takes_any(template: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((TemplateBoundError, RecursionError)):
            render(template, SAMPLE, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400e6


@pytest.mark.parametrize("template", [bomb for bomb in BOMBS if "targets" not in bomb])
def test_it_shows_before_any_sample_is_there(template: str) -> None:
    assert find_excess(template, frozenset())


def test_loops_within_loops_end() -> None:
    nested = "".join(f"{{% for v{number} in targets %}}" for number in range(9)) + "{% endfor %}" * 9
    with pytest.raises(TemplateBoundError, match="too many steps"):
        render(nested, SAMPLE, {})


@pytest.mark.parametrize(
    "step",
    [
        "{% if big == other %}{% endif %}",
        "{% if 'b' in big %}{% endif %}",
        "{% if big is eq other %}{% endif %}",
        "{% if [big] == [other] %}{% endif %}",
        "{% set x = big[1:] %}",
        "{% set x = big | length %}",
        "{% set x = big.count('b') %}",
        "{% set x = big.startswith('b') or big.upper() %}",
    ],
)
def test_steps_that_read_much_each_end(step: str) -> None:
    big = "{% set big = 'a' * 1000000 %}{% set other = 'a' * 1000000 %}"
    began = time.process_time()
    with pytest.raises(TemplateBoundError, match="too long a text"):
        render(f"{big}{{% for c in 'a' * 100000 %}}{step}{{% endfor %}}", SAMPLE, {})
    assert time.process_time() - began < 10


@pytest.mark.parametrize("step", ["x * x", "x // 7"])  # the largest result, and the slowest operation
def test_numbers_stay_small_enough_to_reckon_with(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the steps in a tenth of the time: all of them take two seconds."""
    monkeypatch.setattr(template_bounds, "MAX_STEPS", MAX_STEPS // 10)
    loops = "{% for c in all %}{% for d in all %}{% set y = " + step + " %}{% endfor %}{% endfor %}"
    began = time.process_time()
    with pytest.raises(TemplateBoundError, match="too many steps"):
        render("{% set x = 7 ** 1000 %}{% set all = 'a' * 1000000 %}" + loops, SAMPLE, {})
    assert time.process_time() - began < 3


def test_one_rendering_takes_nothing_from_the_next() -> None:
    for _ in range(4):
        assert len(render("{{ 'a' * 7000000 }}", SAMPLE, {})) == 7_000_000


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ 'ab' * 3 }} {{ 3**4 }} {{ 7 // 2 * 3 }} {{ 1 + 2 }}", "ababab 81 9 3"),
        ("{{ 'a' ~ 1 ~ none ~ caption }}", "a1NoneA beach."),
        ("{{ ['a', 'b'] | join('-') }} {{ '-'.join(['a', 'b']) }}", "a-b a-b"),
        ("{{ [{'n': 1}, {'n': 2}] | join('+', attribute='n') }}", "1+2"),
        ("{{ '%05.2f|%-6s|' % (3.14159, 'a') }} {{ '{:>4}'.format('x') }}", "03.14|a     |    x"),
        ("{{ 5000000 | default(7) }} {{ none | default(9000000, true) }}", "5000000 9000000"),
        ("{{ 'aXb' | replace('X', '-') }} {{ 'a' | center(5) }}|", "a-b   a  |"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{{ loop.length }}{% endfor %}", "a11"),
        ("{% for c in 'abc' %}{{ loop.revindex }}{% else %}none{% endfor %}", "321"),
        ("{% for c in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for c in 'abc' | map('upper') %}{{ c }}{{ loop.last }}{% endfor %}", "AFalseBFalseCTrue"),
        ("{% for c in ['a', ['b']] recursive %}{{ c if c is string else loop(c) }}{% endfor %}", "ab"),
    ],
)
def test_what_needs_little_is_as_in_jinja(template: str, text: str) -> None:
    assert render(template, SAMPLE, {}) == text


def test_a_prompt_that_needs_more_of_a_sample_is_left_to_its_rows() -> None:
    assert find_excess("{{ targets[7] }} {{ answer | int / 0 }}", frozenset()) is None
    listed = "{% for part in parts %}{{ part.item }}{{ part.answer }}{% endfor %}"
    assert find_excess(listed, frozenset({"parts"})) is None
    with pytest.raises(RENDER_ERRORS):
        render("{{ targets[70] }}", SAMPLE, {})
    assert render("{% for p in parts %}{{ p.item }}{% endfor %}", SAMPLE, {"parts": [ItemAnswer("a", "b")]}) == "a"


def test_the_bounds_are_what_messages_and_docs_say() -> None:
    assert (MAX_CHARS, MAX_STEPS, MAX_WIDTH) == (16_000_000, 1_000_000, 100_000)
    said = "it makes x: a prompt may read and make 16,000,000 characters, pad to 100,000 and take 1,000,000 steps"
    assert str(TemplateBoundError("x")) == said


def test_the_last_character_and_the_last_step_are_allowed_and_no_further_one() -> None:
    renew_budget()
    assert tick(MAX_CHARS) == ""
    with pytest.raises(TemplateBoundError, match="too long a text"):
        tick(1)
    renew_budget()
    for _ in range(MAX_STEPS):
        tick()
    with pytest.raises(TemplateBoundError, match="too many steps"):
        tick()


def test_values_are_counted_with_all_that_is_in_them() -> None:
    for value, size in (("abc", 3), (["ab", ("c", "d")], 2 + 2 + 2 + 1 + 1), ({"ab": ["c"]}, 1 + 2 + 1 + 1), (7, 0)):
        renew_budget()
        assert count(value) is value
        tick(MAX_CHARS - size)
        with pytest.raises(TemplateBoundError):
            tick(1)


@pytest.mark.parametrize(
    ("template", "length"),
    [
        ("{{ '%100000d' % 3 }}", 100_000),
        ("{{ '%*d' % (100000, 3) }}", 100_000),
        ("{{ '{:>100000}'.format('x') }}", 100_000),
        ("{{ '{:>{}}'.format('x', 100000) }}", 100_000),
        ("{{ 'x' | center(100000) }}", 100_000),
        ("{{ 'x'.ljust(100000) }}", 100_000),
        ("{{ 'x'.zfill(100000) }}", 100_000),
    ],
)
def test_the_widest_text_is_allowed_and_no_wider_one(template: str, length: int) -> None:
    assert len(render(template, SAMPLE, {})) == length
    with pytest.raises(TemplateBoundError, match="too wide a text"):
        render(template.replace("100000", "100001"), SAMPLE, {})


@pytest.mark.parametrize(
    ("allowed", "refused"), [("2 ** 5000", "2 ** 5001"), ("(2 ** 4999) * (2 ** 4999)", "(2 ** 5000) * (2 ** 4999)")]
)
def test_the_largest_number_is_allowed_and_no_larger_one(allowed: str, refused: str) -> None:
    assert render(f"{{% set x = {allowed} %}}ok", SAMPLE, {}) == "ok"
    with pytest.raises(TemplateBoundError, match="too large a number"):
        render(f"{{% set x = {refused} %}}ok", SAMPLE, {})


@pytest.mark.parametrize(
    "made",
    [
        "'aaaa' * 5000000",
        "5000000 * 'aaaa'",
        "big + big + big",
        "big.replace('a', 'bbbb')",
        "big | replace('a', 'bbbb')",
    ],
)
def test_what_is_too_long_is_refused_before_it_is_made(made: str) -> None:
    assert len(render("{% set big = 'a' * 4500000 %}{{ big }}", SAMPLE, {})) == 4_500_000
    tracemalloc.start()
    try:
        with pytest.raises(TemplateBoundError, match="too long a text"):
            render("{% set big = 'a' * 4500000 %}{% set x = " + made + " %}", SAMPLE, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    "step", ["{% if big == 1 %}{% endif %}", "{% if 1 == big %}{% endif %}", "{% if big is eq 1 %}{% endif %}"]
)
def test_either_side_of_a_comparison_counts(step: str) -> None:
    begin = "{% set big = 'a' * 4500000 %}"
    assert render(f"{begin}{step}ok", SAMPLE, {}) == "ok"
    with pytest.raises(TemplateBoundError, match="too long a text"):
        render(f"{begin}{step * 4}ok", SAMPLE, {})
