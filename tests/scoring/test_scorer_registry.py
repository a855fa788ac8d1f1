"""Scorers by name: built in, or a Python file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring import scorer_registry
from eibench_ray.scoring.scorer_registry import SCORERS, add_scorer_files, file_of, find_scorer, scorer_names

SAYS_YES = """
from dataclasses import dataclass
from eibench_ray.scoring.scorer import Metric, Score, Scorer

@dataclass(frozen=True, slots=True)
class SaysYes(Scorer):
    ignore_case: bool = True
    metrics = (Metric("says_yes"),)

    def read(self, sample, answer, reply):
        text = answer.lower() if self.ignore_case else answer
        return Score(sample.sample_id, {"says_yes": float("yes" in text)})
"""
SAMPLE = Sample("s1", {"question": "Is it?"})


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_registry, "_files", {})


def test_a_file_is_a_scorer_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "says_yes.py"
    path.write_text(SAYS_YES)
    add_scorer_files({"says_yes": str(path)})

    scorer = find_scorer("says_yes")

    assert file_of("says_yes") == str(path)
    assert scorer().read(SAMPLE, "YES", None).values == {"says_yes": 1.0}
    assert scorer(ignore_case=False).read(SAMPLE, "YES", None).values == {"says_yes": 0.0}  # type: ignore[call-arg]
    assert not scorer.asks
    assert find_scorer("says_yes", str(path)) is scorer


def test_a_file_may_not_take_the_name_of_a_built_in_scorer() -> None:
    with pytest.raises(ConfigError, match="there is another scorer 'strict'"):
        add_scorer_files({"strict": "/options/scorers/strict.py"})


def test_an_unknown_name_lists_the_files_too(tmp_path: Path) -> None:
    add_scorer_files({"says_yes": str(tmp_path / "says_yes.py")})

    with pytest.raises(
        ConfigError, match=r"no scorer 'says_no': 'says_yes' is near; there are .*strict.*, and in files says_yes"
    ):
        find_scorer("says_no")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", "ended in ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("x = 1", "has to define one subclass of Scorer, and has none"),
        (SAYS_YES + "\nclass Another(SaysYes): pass", "and has SaysYes, Another"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    add_scorer_files({"broken": str(path)})

    with pytest.raises(ConfigError, match=message) as raised:
        find_scorer("broken")

    assert str(path) in str(raised.value)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.py ended in FileNotFoundError"):
        find_scorer("gone", str(tmp_path / "gone.py"))


def test_built_in_scorers_are_listed_without_being_imported() -> None:
    assert {"official", "strict"} <= set(SCORERS.names())


def test_all_scorers_are_named_the_users_last(tmp_path: Path) -> None:
    add_scorer_files({"says_yes": str(tmp_path / "says_yes.py")})
    assert scorer_names() == [*SCORERS.names(), "says_yes"]
    assert file_of("includes") is None
