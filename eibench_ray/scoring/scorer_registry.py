"""Scorers by the names that `judge.kind` may have: built-in ones, those of installed packages, a user's own files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location

from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup
from eibench_ray.scoring.scorer import Scorer

SCORERS = PluginGroup(
    entry_points="eibench_ray.scorers",
    builtin={
        "coherence": "eibench_ray.benchmarks.eibench.coherence_scorer:CoherenceScorer",
        "choice": "eibench_ray.scoring.rules.choice:ChoiceScorer",
        "correct": "eibench_ray.scoring.judged.correct:CorrectScorer",
        "exact_match": "eibench_ray.scoring.rules.exact_match:ExactMatchScorer",
        "extracted_match": "eibench_ray.scoring.rules.extracted_match:ExtractedMatchScorer",
        "includes": "eibench_ray.scoring.rules.includes:IncludesScorer",
        "jury": "eibench_ray.scoring.judged.jury:JuryScorer",
        "loglikelihood": "eibench_ray.scoring.rules.loglikelihood:LoglikelihoodScorer",
        "number": "eibench_ray.scoring.rules.number:NumberScorer",
        "pairwise": "eibench_ray.scoring.judged.pairwise:PairwiseScorer",
        "official": "eibench_ray.benchmarks.eibench.official_scorer:OfficialScorer",
        "regex": "eibench_ray.scoring.rules.regex:RegexScorer",
        "rubric": "eibench_ray.scoring.judged.rubric:RubricScorer",
        "strict": "eibench_ray.benchmarks.eibench.strict_scorer:StrictScorer",
        "token_f1": "eibench_ray.scoring.rules.token_f1:TokenF1Scorer",
    },
    what="scorer",
)

# Name -> file, of the folders of options that this process was told of.
_files: dict[str, str] = {}


def add_scorer_files(files: Mapping[str, str]) -> None:
    """Makes scorers known that are Python files.

    Args:
        files: name -> absolute path of the file, which defines one subclass of `Scorer`.

    Raises:
        ConfigError: another scorer has that name.
    """
    for name, path in files.items():
        if name in SCORERS.names():
            raise ConfigError(
                f"{path}: there is another scorer {name!r}, and one name has one meaning: give the file another name"
            )
    _files.update(files)


def file_of(name: str) -> str | None:
    """The file that defines a scorer; None for one of a package."""
    return _files.get(name)


def scorer_names() -> list[str]:
    """The names of all scorers that this process knows; none is imported."""
    return [*SCORERS.names(), *_files]


def find_scorer(name: str, file: str | None = None) -> type[Scorer]:
    """The scorer of that name.

    Args:
        name: as `judge.kind` has it.
        file: where it is defined; None: as this process knows.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    path = file or _files.get(name)
    if path is not None:
        return _load(name, path)
    if name not in SCORERS.names() and _files:
        near = get_close_matches(name, scorer_names(), n=1)
        raise ConfigError(
            f"there is no scorer {name!r}{f': {near[0]!r} is near' if near else ''}; there are "
            f"{', '.join(SCORERS.names())}, and in files {', '.join(_files)}"
        )
    found = SCORERS.find(name, type)
    if not issubclass(found, Scorer):
        raise ConfigError(f"the scorer {name!r} is no subclass of {Scorer.__module__}.Scorer: derive it from that")
    return found


@lru_cache(maxsize=64)
def _load(name: str, path: str) -> type[Scorer]:
    """The one scorer that a file defines; the file is run once in a process."""
    spec = spec_from_file_location(f"eibench_ray_scorer_{name}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file: a scorer's file is named NAME.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        source = getattr(spec.loader, "get_data", lambda _: b"")(path)
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ConfigError(
            f"the scorer {name!r} cannot be loaded: {path} ended in {type(error).__name__}: {error}"
        ) from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Scorer) and value.__module__ == spec.name
    ]
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in found) or "none"
        raise ConfigError(f"{path} has to define one subclass of Scorer, and has {names}")
    # Read now: scores that are kept say which code made them, and the file may be edited while a run goes on.
    found[0].file_digest = blake2b(source, digest_size=16).hexdigest()
    return found[0]
