"""Sampling that an engine cannot do, found before anything is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from eibench_ray.config.section import Frozen
from eibench_ray.rows.request import Sampling

NOT_TAKEN = "does not take it: leave it out, or choose an engine that does"


@dataclass(frozen=True, slots=True)
class SamplingRefusal:
    """A key of a call's sampling that an engine cannot do."""

    key: str  # below `sampling`, e.g. `top_k` or `extra.typical_p`
    value: Any
    reason: str = NOT_TAKEN  # what follows the engine's name in a sentence, with the remedy

    @classmethod
    def of_extra(cls, name: str, sampling: Sampling, reason: str = NOT_TAKEN) -> SamplingRefusal:
        """The refusal of a key of `extra`."""
        return cls(f"extra.{name}", sampling.extra[name], reason)


def find_refusal(
    sampling: Sampling, keys: Collection[str] = (), extra: type[Frozen] | None = None
) -> SamplingRefusal | None:
    """The first key that an engine cannot do; None where it can do all.

    Args:
        sampling: of a call.
        keys: those of `OPTIONAL_SAMPLING` that the engine takes.
        extra: what it takes in `extra`, with types; None: nothing.
    """
    if (key := next((name for name in sampling.optional if name not in keys), None)) is not None:
        return SamplingRefusal(key, sampling.optional[key])
    taken = extra.model_fields if extra is not None else {}
    if (key := next((name for name in sampling.extra if name not in taken), None)) is not None:
        known = f"; in extra it takes {', '.join(sorted(taken))}" if taken else ""
        return SamplingRefusal.of_extra(key, sampling, f"{NOT_TAKEN}{known}")
    if extra is not None:
        try:
            extra.model_validate(dict(sampling.extra))
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"takes no such value there ({first['msg'][:1].lower()}{first['msg'][1:]}): correct it"
            return SamplingRefusal.of_extra(str(first["loc"][0]), sampling, wrong)
    return None
