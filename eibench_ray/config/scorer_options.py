"""A scorer's options, from what a user writes below `judge` to the scorer, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.scoring.scorer import Scorer
from eibench_ray.scoring.scorer_registry import file_of, find_scorer, scorer_names


@lru_cache(maxsize=64)
def _adapter(scorer: type[Scorer]) -> TypeAdapter[Scorer]:
    return TypeAdapter(scorer)


def read_scorer(kind: str, options: Mapping[str, Any]) -> ScorerSpec:
    """The scorer that a configuration names, with all of its options.

    Raises:
        ConfigError: there is no such scorer.
        ValidationError: an option is unknown, or has no such value (pydantic's).
    """
    adapter = _adapter(find_scorer(kind))
    # As JSON, so that a list is a tuple where an option is one, also where values are read strictly.
    scorer = adapter.validate_json(json.dumps(options))
    return ScorerSpec(kind, adapter.dump_python(scorer, mode="json"), file_of(kind))


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
        return _adapter(find_scorer(spec.kind, spec.file)).validate_json(json.dumps(spec.options))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise StoreError(
            f"the scorer {spec.kind!r} of this run had options that it has no longer ({problems}): run the sweep "
            f"again, or report with the version that ran it"
        ) from None
