"""Composes the jobs of a sweep, section by section where that gives the same and is faster.

An option file writes its own section (model, setting, dataset, judge, ...) and reads no other, so the section `judge`
of a job follows from the overrides that touch `judge` alone. A sweep of 13 x 3 x 2 x 2 jobs then needs 13 compositions
of Hydra's, not 156, at some 50 ms each. Where sections do depend on each other (an interpolation, or two compositions
that disagree), every job is composed by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Small sweeps are composed job by job: nothing is gained by sharing.
SMALL_SWEEP = 8

# An option of these groups may write to any section (`# @package _global_`).
GLOBAL_GROUPS = frozenset({"experiment"})

Overrides = Sequence[str]


@dataclass(frozen=True, slots=True)
class Composed:
    """One job as composed: plain values, and Hydra's own node (shared between jobs that were put together)."""

    raw: Mapping[str, Any]
    hydra: DictConfig


def to_composed(config: DictConfig) -> Composed:
    """The job behind Hydra's composition.

    Raises:
        MissingMandatoryValue: a value that a person must choose is missing (OmegaConf's).
        InterpolationResolutionError: an interpolation leads nowhere (OmegaConf's).
    """
    raw = OmegaConf.to_container(OmegaConf.masked_copy(config, _sections(config)), resolve=True, throw_on_missing=True)
    assert isinstance(raw, dict)
    return Composed({str(key): value for key, value in raw.items()}, config.hydra)


def compose_jobs(jobs: Sequence[Overrides], compose: Callable[[Overrides], DictConfig]) -> list[Composed]:
    """Every job of the sweep, in order.

    Args:
        jobs: per job, what the sweep sets, e.g. `["model=a", "setting.sampling.max_tokens=16"]`.
        compose: Hydra's composition of one job.
    """
    if len(jobs) <= SMALL_SWEEP:
        return [to_composed(compose(job)) for job in jobs]
    samples = [(jobs[index], compose(jobs[index])) for index in _cover(jobs)]
    composed = [(job, to_composed(config)) for job, config in samples]
    if any(_has_interpolation(config) for _, config in samples) or _disagree(composed):
        return [to_composed(compose(job)) for job in jobs]
    return [_assemble(job, composed) for job in jobs]


def _sections(config: DictConfig) -> list[str]:
    return [str(key) for key in config if key != "hydra"]


def _has_interpolation(config: DictConfig) -> bool:
    sections = OmegaConf.masked_copy(config, _sections(config))
    return bool(OmegaConf.to_container(sections, resolve=False) != OmegaConf.to_container(sections, resolve=True))


def _section_of(override: str) -> str:
    """The section that an override writes to: `model@judge.model=a` -> judge, `+setting.x=1` -> setting."""
    key = override.lstrip("+~").split("=", 1)[0]
    return re.split(r"[./]", key.split("@", 1)[-1])[0]


def _own(job: Overrides, section: str) -> tuple[str, ...]:
    """The overrides from which a section of a job follows."""
    return tuple(item for item in job if _section_of(item) in GLOBAL_GROUPS or _section_of(item) == section)


def _origins(job: Overrides) -> Iterator[tuple[str, tuple[str, ...]]]:
    for section in {_section_of(item) for item in job}:
        yield section, _own(job, section)


def _cover(jobs: Sequence[Overrides]) -> list[int]:
    """Indices of few jobs in which every section appears in each of its variants."""
    origins = [set(_origins(job)) for job in jobs]
    wanted = set().union(*origins)
    chosen = []
    while wanted:
        best = max(range(len(jobs)), key=lambda index: len(origins[index] & wanted))
        chosen.append(best)
        wanted -= origins[best]
    return chosen


def _disagree(composed: Sequence[tuple[Overrides, Composed]]) -> bool:
    """Whether a section differs between two jobs that should share it."""
    seen: dict[tuple[str, tuple[str, ...]], Any] = {}
    for job, result in composed:
        for section, value in result.raw.items():
            if seen.setdefault((section, _own(job, section)), value) != value:
                return True
    return len({frozenset(result.raw) for _, result in composed}) > 1


def _assemble(job: Overrides, composed: Sequence[tuple[Overrides, Composed]]) -> Composed:
    """A job from the sections of others."""
    raw = {}
    for section in composed[0][1].raw:
        own = _own(job, section)
        raw[section] = next(result.raw[section] for other, result in composed if _own(other, section) == own)
    return Composed(raw, composed[0][1].hydra)
