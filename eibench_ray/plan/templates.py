"""Prompt templates: Jinja2 text, checked when planned, rendered row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eibench_ray.errors import PlanError
from eibench_ray.plan.fanout import Part
from eibench_ray.records import Sample

# What every prompt may read: the sample's own fields.
SAMPLE_WORDS = frozenset({"question", "emotion", "reference", "triggers", "caption", "source"})
# Those of them that a sample without a reference does not have.
REFERENCE_WORDS = frozenset({"reference", "triggers"})
_LOOP_NUMBERS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, without its ten-odd checks for each number that a loop is asked for."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is LoopContext and attribute in _LOOP_NUMBERS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = _Environment(undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True)
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


def render(template: str, sample: Sample, answers: Mapping[str, str | Sequence[Part]]) -> str:
    """The prompt for one sample.

    Args:
        template: Jinja2 text.
        sample: the sample whose fields it reads.
        answers: word -> the answer of the step that the word stands for, or the list of a fan-out.
    """
    compiled, words = _compile(template)
    return compiled.render({word: getattr(sample, word) for word in words} | dict(answers))


@lru_cache(maxsize=1024)
def _compile(template: str) -> tuple[Template, tuple[str, ...]]:
    """A template and the sample's words that it reads."""
    return _environment().from_string(template), tuple(words_in(template) & SAMPLE_WORDS)
