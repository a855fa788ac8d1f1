"""A prompt is a program: what it may make, and how long it may take, is bounded; what needs little is as before."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from eibench_ray.plan.fanout import ItemAnswer
from eibench_ray.plan.prompt_templates import RENDER_ERRORS, find_excess, render
from eibench_ray.plan.template_bounds import TemplateBoundError
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
    began = time.monotonic()
    with pytest.raises(TemplateBoundError, match="too long a text"):
        render(f"{big}{{% for c in 'a' * 100000 %}}{step}{{% endfor %}}", SAMPLE, {})
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("step", ["x * x", "x // 7", "x % 7", "x - 1"])
def test_numbers_stay_small_enough_to_reckon_with(step: str) -> None:
    loops = "{% for c in all %}{% for d in all %}{% set y = " + step + " %}{% endfor %}{% endfor %}"
    began = time.monotonic()
    with pytest.raises(TemplateBoundError, match="too many steps"):
        render("{% set x = 7 ** 1000 %}{% set all = 'a' * 1000000 %}" + loops, SAMPLE, {})
    assert time.monotonic() - began < 30


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
