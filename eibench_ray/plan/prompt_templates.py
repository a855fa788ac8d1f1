"""Prompt templates: Jinja2 text, checked when planned, rendered row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, Undefined, UndefinedError, meta, nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eibench_ray.errors import PlanError
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
from eibench_ray.rows.sample import TARGET_WORDS, Sample

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


class _Missing(Undefined):
    """The value of a word that a sample does not have: it can be asked for, but not put out."""

    def __str__(self) -> str:
        raise UndefinedError(
            f"it reads {self._undefined_name}, which this sample does not have: {{% if {self._undefined_name} %}} asks"
        )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = _Environment(undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True, finalize=show)
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
    renew_budget()
    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(template)))
    except TemplateError as error:
        raise PlanError(f"the prompt {template[:80]!r} is not a Jinja2 template: {error}") from None


def render(template: str, sample: Sample, answers: Mapping[str, str | Sequence[ItemAnswer]]) -> str:
    """The prompt for one sample.

    Args:
        template: Jinja2 text.
        sample: the sample whose target, inputs and metadata it reads.
        answers: word -> the answer of the step that the word stands for, or the list of a fan-out; these stand before
            what the sample has under the same word.

    Raises:
        TemplateBoundError: it would take too much time or memory.
        RENDER_ERRORS: it cannot be rendered for this sample.
    """
    compiled, words = _compile(template)
    renew_budget()
    values = {word: value if (value := sample.read(word)) is not None else _Missing(name=word) for word in words}
    return compiled.render(values | dict(answers))


@lru_cache(maxsize=1024)
def _compile(template: str) -> tuple[Template, tuple[str, ...]]:
    """A template and the words that it reads."""
    renew_budget()
    return _environment().from_string(template), tuple(words_in(template))


@lru_cache(maxsize=1024)
def find_excess(template: str, lists: frozenset[str]) -> str | None:
    """Says why a prompt takes too much time or memory, whatever it reads; None where it does not.

    It is rendered once, with short words in the place of all that it reads.
    """
    words = words_in(template) - TARGET_WORDS
    answers = {word: [ItemAnswer("item", "answer")] * 2 if word in lists else "answer" for word in words}
    try:
        render(template, Sample("id", target=("a", "b")), answers)
    except (TemplateBoundError, RecursionError) as error:
        return str(error)
    except RENDER_ERRORS:  # what it needs of a sample may not be in this one
        pass
    return None
