"""A scorer's options, from what a user writes below `judge` to the scorer, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from eibench_ray.config.section import read_options, write_options
from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.scoring.scorer import Scorer
from eibench_ray.scoring.scorer_registry import file_of, find_scorer, scorer_names


def read_scorer(kind: str, options: Mapping[str, Any]) -> ScorerSpec:
    """The scorer that a configuration names, with all of its options.

    Raises:
        ConfigError: there is no such scorer.
        ValidationError: an option is unknown, or has no such value (pydantic's).
    """
    scorer = find_scorer(kind)
    written = write_options(read_options(scorer, options))
    kept = {name: value for name, value in written.items() if value is not None or name not in scorer.later_options}
    return ScorerSpec(kind, kept, file_of(kind))


def option_names() -> Iterator[str]:
    """The options of all scorers; those that are broken are named when they are asked for."""
    for name in scorer_names():
        try:
            yield from (option.name for option in fields(find_scorer(name)))  # type: ignore[arg-type]
        except (ConfigError, TypeError):
            continue


def make_scorer(spec: ScorerSpec) -> Scorer:
    """The scorer of a plan.

    Raises:
        ConfigError: it is gone, or cannot be used.
        StoreError: it has other options now.
    """
    try:
        return read_options(find_scorer(spec.kind, spec.file), spec.options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise StoreError(
            f"the scorer {spec.kind!r} of this run had options that it has no longer ({problems}): run the sweep "
            f"again, or report with the version that ran it"
        ) from None
