"""Regular expressions over replies, data and files take time in proportion to their length."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eibench_ray.benchmarks.eibench.official_scorer import official_verdict
from eibench_ray.benchmarks.eibench.strict_scorer import parse_counts, parse_named
from eibench_ray.datasets.cell_values import ValueRefusedError, to_field
from eibench_ray.datasets.control_marks import ControlMarks
from eibench_ray.datasets.format_template import to_jinja
from eibench_ray.datasets.picture_values import read_picture_values
from eibench_ray.driver.failure_reasons import is_passing
from eibench_ray.engines.api_key import Secret
from eibench_ray.engines.control_tokens import ControlTokens
from eibench_ray.errors import DataError, EngineError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.rules.choice_letter import find_letter
from eibench_ray.scoring.rules.normal_text import normal_text
from eibench_ray.scoring.rules.numerals import find_numerals
from eibench_ray.serve.server_process import describe_end
from eibench_ray.visible_text import in_line, shorten_words


def watch(text: str) -> None:
    ControlMarks().watch(Sample("a", {"question": text}))


READERS: dict[str, Callable[[str], object]] = {
    "strict": lambda text: (parse_named(text, 3), parse_counts(text, 3)),
    "official": official_verdict,
    "server": lambda text: describe_end(1, text),
    "secret": Secret("sk-abcdefghijkl").scrub,
    "passing": lambda text: is_passing(EngineError(text)),
    "template": to_jinja,
    "marks": watch,
    "tokens": ControlTokens(["<|im_end|>", "<|im_start|>", "</s>"], "m").defuse,
    "picture": read_picture_values,
    "field": to_field,
    "numerals": find_numerals,
    "letter": lambda text: (find_letter(text), find_letter(text, ("Paris", "a"))),
    "normal": normal_text,
    "shown": lambda text: (in_line(text), shorten_words(text)),
}
UNITS = [
    "\n",
    " ",
    "a",
    "`",
    "```",
    "```json",
    "{score: 1",
    "{score: 1/",
    "1",
    "<",
    "<|",
    "<|im_",
    "[",
    "[/INST",
    "://",
    "A+/",
]
UNITS += [
    "data:a;",
    "*",
    "a*",
    "sk-",
    "bearer ",
    "port ",
    "Error: ",
    "(a pid=1) ",
    "\x1b[",
    "\x1b",
    '"',
    "'",
    ".",
    "[1,",
    "a.Error",
]


@pytest.mark.timeout(30)  # some hundredths of a second each; minutes where the time grew with the square of the length
@pytest.mark.parametrize("name", READERS)
def test_long_texts_are_read_in_linear_time(name: str) -> None:
    for unit in UNITS:
        try:
            READERS[name](unit * (100_000 // len(unit)) + "x")
        except (ValueRefusedError, DataError):
            continue
