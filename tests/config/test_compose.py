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


@pytest.fixture
def _four_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has sweeps of four jobs share sections, too: a job by itself takes Hydra 0.1 CPU s."""
    monkeypatch.setattr("eibench_ray.config.compose.SMALL_SWEEP", 3)


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        yield


class CountingComposer(Composer):
    """Hydra's composition, counted, and made once a job; reads a folder of a user's own options, too, if told to."""

    def __init__(self, own: Path | None = None, *chosen: str) -> None:
        self.num_whole = self.num_sections = self.num_apart = 0
        self._made: dict[tuple[str, ...], DictConfig] = {}
        always = [f"hydra.searchpath=[file://{own}]"] if own else []
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        super().__init__(
            loader, loader.load_configuration("config", [*always, *chosen, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
        )

    @property
    def num_calls(self) -> int:
        return self.num_whole + self.num_sections + self.num_apart

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        self.num_whole += 1
        if tuple(overrides) not in self._made:
            self._made[tuple(overrides)] = super().compose(overrides)
        return self._made[tuple(overrides)]

    def compose_sections(self, overrides: Sequence[str]) -> Sections | None:
        self.num_sections += 1
        return super().compose_sections(overrides)

    def compose_apart(self, variants: Sequence[tuple[str, Sequence[str]]]) -> list[Sections] | None:
        self.num_apart += len(variants)
        return super().compose_apart(variants)


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
    assert (composer.num_whole, composer.num_sections) == (0, 1)
    single = ["dataset", "tracking", "captioner", "asker", "cluster"]  # the same in all jobs, and looked at, too
    assert composer.num_apart == len([*MODELS, *SETTINGS, *JUDGES, *single])
    check_equal_to_alone(jobs, composed, composer)


def test_overrides_below_a_section_belong_to_it() -> None:
    composer = CountingComposer()
    jobs = [
        ["dataset=demo", "tracking=none", "model=echo", "judge=strict", f"model@judge.model={judge}", *own]
        for judge in MODELS
        for own in (["+model.engine.fails_on=x"], ["model.engine.latency_s=0.5"], ["setting.sampling.max_tokens=16"])
    ]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == 0
    check_equal_to_alone(jobs, composed, composer)


def test_a_small_sweep_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=["echo"])
    assert len(jobs) <= SMALL_SWEEP
    compose_jobs(jobs, composer)
    assert composer.num_whole == composer.num_calls == len(jobs)


def test_jobs_of_a_union_may_speak_of_different_sections() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS, setting=SETTINGS, judge=JUDGES)
    jobs = [[*job, "seed=3"] if "model=echo" in job else job for job in jobs]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == 0
    assert [result.raw["seed"] for result in composed] == [3] * 4 + [0] * 8
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
def test_an_interpolation_between_sections_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS[:2], setting=SETTINGS, judge=["echo"])
    jobs = [[*job, "setting.name=asked_${model.name}"] for job in jobs]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs)
    assert [result.raw["setting"]["name"] for result in composed[:1]] == ["asked_echo"]
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
def test_a_swept_experiment_may_write_to_every_section(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        sampling = f"  prompt_source: own\n  sampling:\n    max_tokens: {seed}00\n"
        overlay = f"# @package _global_\nseed: {seed}\nsetting:\n{sampling}"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(overlay)
    composer = CountingComposer(tmp_path)
    jobs = product(experiment=["a", "b"], model=MODELS[:2], setting=SETTINGS[:1], judge=["echo"])
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs), "an experiment may speak to Hydra too"
    assert [result.raw["seed"] for result in composed] == [1] * 2 + [2] * 2
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
def test_an_option_that_writes_to_another_section_is_composed_job_by_job(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    text = (config_folder() / "dataset" / "demo.yaml").read_text().replace("\n", "\n  ")
    (tmp_path / "dataset" / "odd.yaml").write_text(f"# @package _global_\ndataset:\n  {text}\nmodel:\n  system: odd\n")
    composer = CountingComposer(tmp_path)
    jobs = product(dataset=["demo", "odd"], model=MODELS[:2], setting=SETTINGS[:1], judge=["echo"])
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs)
    assert [result.raw["model"]["system"] for result in composed] == [None] * 2 + ["odd"] * 2
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
def test_a_section_that_only_some_jobs_have_is_composed_job_by_job() -> None:
    composer = CountingComposer()
    jobs = product(model=MODELS[:2], setting=SETTINGS, judge=["echo"])
    jobs = [job if "model=echo" in job else [*job, "model@captioner=echo"] for job in jobs]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs)
    assert ["captioner" in result.raw for result in composed] == [False] * 2 + [True] * 2
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
@pytest.mark.parametrize(
    ("group", "option", "text"),
    [
        pytest.param("dataset", "odd", "# @package _global_\nmodel: {system: odd}\n", id="of an option that stays"),
        pytest.param("model", "odd", "# @package _global_\nsetting: {image: none}\n", id="of an option that varies"),
        pytest.param("dataset", "odd", "# @package _global_\nseed: 7\n", id="without an option of its own"),
        pytest.param(
            "judge", "odd", "defaults: [echo, override /setting@_global_.setting: question]\n", id="by another choice"
        ),
        pytest.param("judge", "odd", "defaults: [echo, {/model@_global_.extra: echo}]\n", id="by an option of its own"),
        pytest.param("dataset", "odd", "# @package _global_\nsweep: ${model.name}\n", id="read from another"),
    ],
)
def test_sections_that_others_write_to_are_composed_as_hydra_composes_them(
    tmp_path: Path, group: str, option: str, text: str
) -> None:
    (tmp_path / group).mkdir()
    own = "defaults: [echo]\n" if group == "model" else "defaults: [demo]\n" if group == "dataset" else ""
    (tmp_path / group / f"{option}.yaml").write_text(text.replace("\n", f"\n{own}", 1) if own else text)
    composer = CountingComposer(tmp_path)
    chosen = {"model": MODELS[:2], "setting": SETTINGS, "judge": ["echo"], "dataset": ["demo"]}
    chosen[group] = [option] if group == "dataset" else [*chosen[group], option]
    jobs = product(**chosen)
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == len(jobs)
    check_equal_to_alone(jobs, composed, composer)


@pytest.mark.usefixtures("_four_are_many")
def test_an_experiment_chooses_options_that_jobs_vary(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - base\n  - override /model: echo\n  - override /judge: echo\n"
        "  - override /model@captioner: tiny_llama\n\nsweep: own\nmodel: {system: Be brief.}\n"
    )
    (tmp_path / "experiment" / "base.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /setting: question\n\nseed: 4\n"
    )
    composer = CountingComposer(tmp_path, "experiment=own", "dataset=demo")
    jobs = [
        ["experiment=own", *job] for job in product(model=MODELS[:2], setting=SETTINGS[:1], dataset=["demo", "quiz"])
    ]
    composed = compose_jobs(jobs, composer)
    assert composer.num_whole == 0
    assert {result.raw["model"]["system"] for result in composed} == {"Be brief."}
    check_equal_to_alone(jobs, composed, composer)
