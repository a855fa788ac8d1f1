"""SLURM's section: times as people write them, and words that an #SBATCH line can hold."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from eibench_ray.config.slurm import ShareConfig, SlurmConfig, Walltime

walltime = TypeAdapter(Walltime)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("04:00:00", 14400),
        ("1-12:00:00", 129600),
        ("2-03:30", 2 * 86400 + 3 * 3600 + 30 * 60),
        ("30:00", 1800),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_a_walltime_is_seconds_or_a_time_as_slurm_writes_it(text: object, seconds: float) -> None:
    assert walltime.validate_python(text) == seconds


@pytest.mark.parametrize("text", ["4h", "04:0", "", "-1:00:00", 0, -5, "1-2"])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        walltime.validate_python(text)


@pytest.mark.parametrize("value", ["a b", "a\nrm -rf ~", 'a"', "a'", "a`b`", "a\\", "$(id)", "", "a#b"])
@pytest.mark.parametrize("key", ["partition", "account", "qos", "memory", "constraint"])
def test_a_word_that_could_leave_its_line_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        SlurmConfig.model_validate({key: value})


def test_numbers_are_words_and_further_options_may_be_switches() -> None:
    slurm = SlurmConfig.model_validate({"memory": 3000, "options": {"nice": 100, "exclusive": True}})
    assert (slurm.memory, slurm.options) == ("3000", {"nice": "100", "exclusive": True})


@pytest.mark.parametrize(
    "section",
    [
        {"options": {"job name": "x"}},
        {"options": {"wrap=x --y": "z"}},
        {"env": {"A B": "c"}},
        {"env": {"WANDB_API_KEY": "c"}},
        {"export": ["WANDB_API_KEY=abc"]},
        {"scratch": "scratch"},
        {"scratch": "/a/folder/whose/name/is/too/long"},
        {"form": "chain"},
    ],
    ids=str,
)
def test_what_would_break_a_script_or_show_a_secret_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SlurmConfig.model_validate(section)


def test_a_share_is_one_of_its_parts() -> None:
    ShareConfig(stage=1, part=2, parts=3)
    with pytest.raises(ValidationError, match="part 3 is not one of 3, counted from 0"):
        ShareConfig(part=3, parts=3)
