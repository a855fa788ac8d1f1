"""Sharing sections between jobs gives what composing each job alone gives, with fewer compositions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from eibench_ray.config.compose import SMALL_SWEEP, Composed, compose_jobs, to_composed
from eibench_ray.config.hydra_composer import Composer, Sections
from eibench_ray.config.options_folder import config_folder

MODELS = ["echo", "tiny_llama", "llava_next_7b"]
SETTINGS = ["user_question", "user_question_caption"]
JUDGES = ["echo", "llama3_8b"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        yield


class CountingComposer(Composer):
    """Hydra's composition, counted, and made once a job; reads a folder of a user's own options, too, if told to."""

    def __init__(self, own: Path | None = None) -> None:
        self.num_whole = self.num_sections = 0
        self._made: dict[tuple[str, ...], DictConfig] = {}
        always = [f"hydra.searchpath=[file://{own}]"] if own else []
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        super().__init__(
            loader, loader.load_configuration("config", [*always, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
        )

    @property
    def num_calls(self) -> int:
        return self.num_whole + self.num_sections

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        self.num_whole += 1
        if tuple(overrides) not in self._made:
            self._made[tuple(overrides)] = super().compose(overrides)
        return self._made[tuple(overrides)]

    def compose_sections(self, jobs: Sequence[Sequence[str]]) -> list[Sections] | None:
        self.num_sections += len(jobs)
        return super().compose_sections(jobs)


def product(**choices: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, as Hydra's sweeper lists them."""
    groups = [[f"{group}={choice}" for choice in listed] for group, listed in choices.items()]
    fixed = ["tracking=none"] if "dataset" in choices else ["tracking=none", "dataset=demo"]
    return [[*fixed, *job] for job in itertools.product(*groups)]


def check_equal_to_alone(jobs: list[list[str]], composed: list[Composed], composer: CountingComposer) -> None:
    assert len(composed) == len(jobs)
    for job, result in zip(jobs, composed, strict=True):
        alone = to_composed(composer.compose(job))
        assert dict(result.raw) == dict(alone.raw)
        assert list(result.raw) == list(alone.raw), "in the same order"
        assert result.choices == alone.choices


def test_shared_sections_give_the_same_as_composing_each_job_alone() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=JUDGES)
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == 0
    assert composer.num_sections == 1 + sum(len(variants) - 1 for variants in (MODELS, SETTINGS, JUDGES))
    check_equal_to_alone(jobs, composed, composer)


def test_overrides_below_a_section_belong_to_it() -> None:
    composer = CountingComposer()
    jobs = [
        ["dataset=demo", "tracking=none", "model=echo", "judge=strict", f"model@judge.model={judge}", *own]
        for judge in MODELS
        for own in (["+model.engine.fails_on=x"], ["model.engine.latency_s=0.5"], ["setting.sampling.max_tokens=16"])
    ]
    composed = compose_jobs(jobs, composer)
    assert composer.num_calls < len(jobs)
    check_equal_to_alone(jobs, composed, composer)


def test_a_small_sweep_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=["echo"])
    assert len(jobs) <= SMALL_SWEEP
    compose_jobs(jobs, composer)
    assert composer.num_calls == len(jobs)


def test_jobs_of_a_union_may_speak_of_different_sections() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=JUDGES)
    jobs = [[*job, "seed=3"] if "model=echo" in job else job for job in jobs]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == 0
    assert [result.raw["seed"] for result in composed] == [3] * 4 + [0] * 8
    check_equal_to_alone(jobs, composed, composer)


def test_an_interpolation_between_sections_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = [[*job, "setting.name=asked_${model.name}"] for job in product(model=MODELS, setting=SETTINGS, judge=JUDGES)]
    composed = compose_jobs(jobs, composer)
    assert composer.num_calls > len(jobs)
    assert [result.raw["setting"]["name"] for result in composed[:1]] == ["asked_echo"]
    check_equal_to_alone(jobs, composed, composer)


def test_a_swept_experiment_may_write_to_every_section(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        sampling = f"  prompt_source: own\n  sampling:\n    max_tokens: {seed}00\n"
        overlay = f"# @package _global_\nseed: {seed}\nsetting:\n{sampling}"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(overlay)
    composer = CountingComposer(tmp_path)
    jobs = product(experiment=["a", "b"], model=MODELS, setting=SETTINGS, judge=["echo"])
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs), "an experiment may speak to Hydra too"
    assert [result.raw["seed"] for result in composed] == [1] * 6 + [2] * 6
    check_equal_to_alone(jobs, composed, composer)


def test_an_option_that_writes_to_another_section_is_composed_job_by_job(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    text = (config_folder() / "dataset" / "demo.yaml").read_text().replace("\n", "\n  ")
    (tmp_path / "dataset" / "odd.yaml").write_text(f"# @package _global_\ndataset:\n  {text}\nmodel:\n  system: odd\n")
    composer = CountingComposer(tmp_path)
    jobs = product(dataset=["demo", "odd"], model=MODELS, setting=SETTINGS, judge=["echo"])
    composed = compose_jobs(jobs, composer)
    assert composer.num_calls > len(jobs)
    assert [result.raw["model"]["system"] for result in composed] == [None] * 6 + ["odd"] * 6
    check_equal_to_alone(jobs, composed, composer)


def test_a_section_that_only_some_jobs_have_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=JUDGES)
    jobs = [job if "model=echo" in job else [*job, "model@captioner=echo"] for job in jobs]
    composed = compose_jobs(jobs, composer)
    assert composer.num_calls > len(jobs)
    assert ["captioner" in result.raw for result in composed] == [False] * 4 + [True] * 8
    check_equal_to_alone(jobs, composed, composer)
