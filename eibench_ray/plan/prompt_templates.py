"""Prompt templates: Jinja2 text, checked when planned, rendered row by row."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template, TemplateError, Undefined, UndefinedError, meta, nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eibench_ray.errors import PlanError
from eibench_ray.plan.example_set import Example
from eibench_ray.plan.fanout import ItemAnswer
from eibench_ray.plan.template_bounds import (
    OPERATORS,
    NodeBounds,
    TemplateBoundError,
    bound_filters,
    bound_format,
    call_method,
    check_operator,
    concat,
    count,
    counted,
    renew_budget,
    show,
    tick,
)
from eibench_ray.rows.request import PlacedImage
from eibench_ray.rows.sample import IMAGE_WORDS, TARGET_WORDS, Media, Sample

_LOOP_NUMBERS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})


# What a rendering may raise, by the template's fault or by that of what it reads.
RENDER_ERRORS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox within bounds, without its ten-odd checks for each number that a loop is asked for."""

    intercepted_binops = OPERATORS
    bounded_tick = staticmethod(tick)
    counted = staticmethod(counted)
    bounded_count = staticmethod(count)
    bounded_concat = staticmethod(concat)  # `concat` is a word of Jinja's own

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Example:
            return obj[attribute] if attribute in obj else _Missing(name=attribute)
        if type(obj) is LoopContext and attribute in _LOOP_NUMBERS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        bound: nodes.Template = NodeBounds().visit(super()._parse(source, name, filename))
        return bound

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return count(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if __obj is tick or __obj is concat or __obj is counted or __obj is count:
            return __obj(*args)
        joined = call_method(__obj, args)
        return count(super().call(__context, __obj, *args, **kwargs)) if joined is None else joined

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        return None if wrapped is None else bound_format(str(value.__self__), wrapped)


# Word -> the answer of a step, the list of a fan-out, or the examples.
Answers = Mapping[str, str | Sequence[ItemAnswer] | Sequence[Example]]
# A text that nobody else can put into a prompt stands for a picture until the prompt is rendered.
_MARK = f"\0{secrets.randbelow(10**18):018}:"
_PLACE = re.compile(rf"{_MARK}(\d+)\0")


class _Picture:
    """A picture that a prompt puts out."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def mark(self) -> str:
        """The text that stands for it."""
        return f"{_MARK}{self._number}\0"

    def __str__(self) -> str:
        raise UndefinedError("it changes what stands for a picture: write {{ image(1) }} as it is")


def _put_out(value: Any) -> str:
    return show(value.mark if type(value) is _Picture else value)


class PlacedText(NamedTuple):
    """A rendered prompt, and where the sample's pictures stand in it."""

    text: str
    images: tuple[PlacedImage, ...]


class _Missing(Undefined):
    """The value of a word that a sample does not have: it can be asked for, but not put out."""

    def __str__(self) -> str:
        raise UndefinedError(
            f"it reads {self._undefined_name}, which this sample does not have: {{% if {self._undefined_name} %}} asks"
        )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = _Environment(
        undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True, finalize=_put_out
    )
    environment.filters = bound_filters(environment.filters)
    # Jinja's own (range, dict, ...) are no words that a plan allows, and handing them in took half of the time.
    environment.globals.clear()
    return environment


@lru_cache(maxsize=1024)
def words_in(template: str) -> frozenset[str]:
    """The words that a prompt reads.

    Raises:
        PlanError: the text is not a Jinja2 template.
    """
    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(template)))
    except TemplateError as error:
        raise PlanError(f"the prompt {template[:80]!r} is not a Jinja2 template: {error}") from None


def with_words(template: str, words: Mapping[str, str]) -> str:
    """The prompt with texts behind the words that it reads, whatever a sample has under them.

    >>> with_words("{{ answer }}, by {{ scale }}", {"scale": "1: bad, 2: good"})
    '{% set scale = "1: bad, 2: good" %}{{ answer }}, by {{ scale }}'

    Raises:
        PlanError: the text is not a Jinja2 template.
    """
    read = words_in(template) if words else ()
    # JSON's escapes are Jinja's, but for pairs of surrogates.
    texts = {word: json.dumps(text, ensure_ascii=False) for word, text in words.items() if word in read}
    return "".join(f"{{% set {word} = {text} %}}" for word, text in texts.items()) + template


def render(template: str, sample: Sample, answers: Answers) -> str:
    """The prompt for one sample, for a model that is sent no pictures: where one would stand is nothing.

    Args:
        template: Jinja2 text.
        sample: the sample whose target, inputs and metadata it reads.
        answers: word -> the answer of the step that the word stands for, or the list of a fan-out; these stand before
            what the sample has under the same word.

    Raises:
        TemplateBoundError: it would take too much time or memory.
        RENDER_ERRORS: it cannot be rendered for this sample.
    """
    return _render(_compile(template), sample, answers, lambda _: "", ())


def render_placed(template: str, sample: Sample, answers: Answers) -> PlacedText:
    """The prompt for one sample with all of its pictures; those that it does not place stand before the text.

    Raises:
        TemplateBoundError: it would take too much time or memory.
        RENDER_ERRORS: it cannot be rendered for this sample, or places a picture twice, or one that is not there.
    """
    media, compiled = sample.media, _compile(template)
    if not compiled.places:
        text = _render(compiled, sample, answers, lambda _: "", ())
        return PlacedText(text, tuple([PlacedImage(place, one.digest) for place, one in enumerate(media)]))

    def image(number: int) -> _Picture:
        if not isinstance(number, int) or not 1 <= number <= len(media):
            has = f"has the pictures 1 to {len(media)}" if len(media) > 1 else "has one picture"
            raise UndefinedError(f"it places image({number!r}), and the sample {has if media else 'has no picture'}")
        return _Picture(number)

    pictures = [_Picture(number) for number in range(1, len(media) + 1)]
    pieces = _PLACE.split(_render(compiled, sample, answers, image, pictures))
    numbers = [int(number) for number in pieces[1::2]]
    if twice := sorted(number for number, count in Counter(numbers).items() if count > 1):
        raise UndefinedError(f"it places image({twice[0]}) twice")
    ends = accumulate(map(len, pieces[::2]))
    first = [PlacedImage(place, one.digest) for place, one in enumerate(media) if place + 1 not in numbers]
    placed = [PlacedImage(number - 1, media[number - 1].digest, at) for number, at in zip(numbers, ends, strict=False)]
    return PlacedText("".join(pieces[::2]), (*first, *placed))


class _Compiled(NamedTuple):
    """A template, the words of samples and answers that it reads, and whether it says where pictures stand."""

    template: Template
    words: tuple[str, ...]
    places: bool


def _render(
    compiled: _Compiled,
    sample: Sample,
    answers: Answers,
    image: Callable[[int], _Picture | str],
    images: Sequence[_Picture],
) -> str:
    renew_budget()
    values: dict[str, Any] = {"image": image, "images": images} if compiled.places else {}
    for word in compiled.words:
        # What an answer stands for is not looked for in the sample.
        value = answers[word] if word in answers else sample.read(word)
        values[word] = _Missing(name=word) if value is None else value
    return compiled.template.render(values)


@lru_cache(maxsize=1024)
def _compile(template: str) -> _Compiled:
    renew_budget()
    words = words_in(template)
    return _Compiled(
        _environment().from_string(template), tuple(words - IMAGE_WORDS), not words.isdisjoint(IMAGE_WORDS)
    )


@lru_cache(maxsize=1024)
def find_excess(template: str, lists: frozenset[str]) -> str | None:
    """Says why a prompt takes too much time or memory, whatever it reads; None where it does not.

    It is rendered once, with short words in the place of all that it reads.
    """
    words = words_in(template) - TARGET_WORDS - IMAGE_WORDS
    answers = {word: [ItemAnswer("item", "answer")] * 2 if word in lists else "answer" for word in words}
    try:
        render_placed(template, Sample("id", {}, (Media("a"), Media("b")), ("a", "b")), answers)
    except (TemplateBoundError, RecursionError) as error:
        return str(error)
    except RENDER_ERRORS:  # what it needs of a sample may not be in this one
        pass
    return None
