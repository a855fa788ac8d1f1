"""Prompt templates: Jinja2 text, checked when planned, rendered row by row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from eibench_ray.errors import PlanError
from eibench_ray.records import Sample

# What every prompt may read: the sample's own fields.
SAMPLE_WORDS = frozenset({"question", "emotion", "reference", "triggers", "caption", "source"})


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True)


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


def render(template: str, sample: Sample, answers: Mapping[str, str]) -> str:
    """The prompt for one sample.

    Args:
        template: Jinja2 text.
        sample: the sample whose fields it reads.
        answers: word -> the answer of the step that the word stands for.
    """
    return _compile(template).render({word: getattr(sample, word) for word in SAMPLE_WORDS} | dict(answers))


@lru_cache(maxsize=1024)
def _compile(template: str) -> Template:
    return _environment().from_string(template)
