"""A key that an option file leaves at its default is set like any other; one that does not exist is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.load import is_known_key

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

MINE = 'name: mine\ncalls: [{name: a, role: subject, image: true, prompt: "{{ question }}"}]\n'


@pytest.fixture
def line(tmp_path: Path) -> tuple[Any, ...]:
    """The arguments of a cell whose setting is an option file of a user's own, which sets no more than it must."""
    folder = tmp_path / "own" / "setting"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(MINE)
    (folder / "other.yaml").write_text(MINE.replace("mine", "other"))
    own = ("--config-dir", tmp_path / "own")
    return (*own, "model=echo", "judge=echo", "dataset=demo", "tracking=none", "setting=mine")


def composed(command: Command, line: tuple[Any, ...], *overrides: str) -> Called:
    """The cell as Hydra composes it, with these overrides."""
    return command("plan", *line, *overrides, "--cfg", "job")


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("setting.repeats=3", "repeats: 3"),
        ("+setting.repeats=3", "repeats: 3"),
        ("setting.sampling.max_tokens=5", "max_tokens: 5"),
        ("setting.sampling={max_tokens:5}", "max_tokens: 5"),
        ("setting.sampling.extra.typical_p=0.5", "typical_p: 0.5"),
        ("setting.calls.0.system=Hi", "system: Hi"),
        ("dataset.filter.label=angry", "label: angry"),
        ("judge.model.engine.latency_s=0.5", "latency_s: 0.5"),
        ("seed=7", "seed: 7"),
    ],
)
def test_a_key_that_the_files_leave_out_is_set(
    command: Command, line: tuple[Any, ...], override: str, shown: str
) -> None:
    called = composed(command, line, override)
    assert called.code == 0, called.err
    assert shown in called.out


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("setting.repaets=2", "setting.repaets: there is no such key; did you mean 'setting.repeats'?"),
        ("setting.sampling.topk=2", "did you mean 'setting.sampling.top_k'?"),
        ("setting.name.x=2", "setting.name.x: there is no such key"),
        ("~setting.repeats", "~setting.repeats: no option file sets it: leave this out"),
        ("~setting.repaets", "~setting.repaets: there is no such key; did you mean 'setting.repeats'?"),
        ("~setting.calls", "setting.calls is missing"),
        ("model.engine.tensor_parallel=2", "there is no such key for this kind; another kind has it"),
        ("judge.min_score=2", "judge.min_score"),
    ],
)
def test_what_no_key_is_meant_by_is_refused(command: Command, line: tuple[Any, ...], override: str, told: str) -> None:
    called = command("plan", *line, override)
    assert called.code == 2
    assert told in called.err


def test_a_key_that_a_file_sets_can_be_taken_out(command: Command, line: tuple[Any, ...]) -> None:
    called = command("plan", *line, "~model.engine.max_num_seqs", "--json")
    assert called.code == 0, called.err


def test_a_sweep_sets_it_in_all_jobs(command: Command, line: tuple[Any, ...]) -> None:
    several = ("setting=mine,other", "setting.repeats=3", "setting.sampling.temperature=0.7")
    called = command("plan", "-m", *line[:-1], *several, "--json")
    assert called.code == 0, called.err
    answers = [step for step in called.json["steps"] if step["name"] == "a"]
    assert len(answers) == 3  # the two settings ask the same


def test_it_can_be_swept_over(command: Command, line: tuple[Any, ...]) -> None:
    called = command("plan", "-m", *line, "setting.sampling.max_tokens=5,6")
    assert "two cells are both called echo/mine/demo/echo" in called.err  # two values, and one name for both


@pytest.mark.parametrize(
    ("key", "is_known"),
    [
        ("model.engine.tensor_parallel", True),
        ("judge.members.a.model.engine.dtype", True),
        ("model.engine.env.HF_HOME", True),
        ("model.engine.dtype.x", False),
        ("captioner.name", True),
        ("store", True),
        ("stor", False),
    ],
)
def test_the_schema_knows_its_keys(key: str, is_known: bool) -> None:
    assert is_known_key(key) == is_known
