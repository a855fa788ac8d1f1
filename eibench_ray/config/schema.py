"""The configuration of one cell, validated once and frozen. No DictConfig goes beyond this package.

Every key with its unit and meaning, but for those of clusters (cluster.py), engines (their kinds' own) and settings
(settings.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engine_section import AnyEngineSection
from eibench_ray.config.report_section import ReportConfig
from eibench_ray.config.scorer_options import make_scorer, option_names, read_scorer
from eibench_ray.config.section import Filled, Frozen, PathText, number_or_auto, read_options
from eibench_ray.config.setting import Role, SamplingConfig, SettingConfig
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.plan.engine_traits import Availability, Expectation
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.completion import Retry
from eibench_ray.scoring.scorer_registry import file_of, find_scorer
from eibench_ray.storage.location import read_location


def _checked(options: type[object]) -> BeforeValidator:
    """Checks a section that is a dataclass of the plan."""
    return BeforeValidator(partial(read_options, options))


class ModelConfig(Frozen):
    """A model under test, a captioner, an asker, or the model behind a judge.

    Attributes:
        licence: of its weights: an SPDX identifier, or the name that the hub has for it; `proprietary` for a service.
    """

    name: Filled
    engine: AnyEngineSection
    sees_image: bool  # False marks a text-only model: it is never sent a picture, and every table says so
    family: str | None = None  # whose kin it is, e.g. `llama`: a judge of the same family is flagged; None: not known.
    system: str | None = None  # a system prompt that this model always gets; None sends none
    licence: str | None = None
    availability: Annotated[Availability, _checked(Availability)] | None = None  # None: nothing is known
    expect: Annotated[Expectation, _checked(Expectation)] = Expectation()


class JudgeConfig(Frozen):
    """A rule, or engine + prompt + parser, that scores answers. Beside these keys stand the scorer's options.

    Attributes:
        unparsed: what an answer counts as in which a rule finds nothing to score: `wrong`, or `missing`, which lowers
            the coverage; None: wrong. A judge's reply without a score says nothing of the answer: it is missing.
        members: of a jury, the judges that score together, under keys of the option's choice.
        baseline: the model with whose answers to the same samples a judge that compares compares.
        baseline_setting: how the baseline is asked; None: as the model under test. Of it only the calls count.
    """

    model_config = ConfigDict(extra="allow")

    name: Filled
    kind: Filled  # the scorer: built in, an installed package's, or a file of the config folder's `scorers`
    model: ModelConfig | None = None  # who is asked; None where the scorer is a rule
    prompt_source: Literal["auto", "official", "own"] = "auto"  # as in a setting
    system: str | None = None
    prompt: str | None = None  # Jinja2 text over the sample's fields and the `answer`
    sampling: SamplingConfig = SamplingConfig()
    repeats: PositiveInt = 1  # replies per answer, each with its own seed; they show the judge's own noise
    unparsed: Literal["wrong", "missing"] | None = None
    members: dict[str, JudgeConfig] = Field(default={}, exclude_if=lambda members: not members)
    baseline: ModelConfig | None = Field(default=None, exclude_if=lambda model: model is None)
    baseline_setting: SettingConfig | None = Field(default=None, exclude_if=lambda setting: setting is None)

    @classmethod
    def plugin_keys(cls) -> Iterator[str]:
        """The options of all scorers."""
        return option_names()

    @field_validator("kind")
    @classmethod
    def _is_a_scorer(cls, kind: str) -> str:
        try:
            find_scorer(kind)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return kind

    @model_validator(mode="before")
    @classmethod
    def _options_are_its_scorers(cls, given: object) -> object:
        """The section with the options as the scorer has them, those left out included."""
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        try:
            spec = read_scorer(given["kind"], {name: value for name, value in given.items() if name not in own})
        except ConfigError:  # the field says it, under its own key
            return given
        return {**own, **spec.options}

    @model_validator(mode="after")
    def _asks_somebody_or_nobody(self) -> JudgeConfig:
        scorer = make_scorer(self.scorer)
        if scorer.has_members or self.members:
            self._check_members()
        elif scorer.compares and self.baseline is None:
            raise ValueError(
                f"{self.kind} compares two answers: choose whose the other is with model@judge.baseline=NAME"
            )
        elif not scorer.compares and _compared(self) != (None, None):
            raise ValueError(
                f"{self.kind} compares no answers: leave judge.baseline and baseline_setting out, or take "
                f"judge.kind=pairwise"
            )
        elif scorer.asks:
            if self.model is not None and scorer.engine_kind not in (None, self.model.engine.kind):
                raise ValueError(
                    f"{self.kind} is measured by an engine of the kind {scorer.engine_kind}: choose another judge.model"
                )
            if self.model is None or self.prompt is None:
                raise ValueError(
                    f"{self.kind} asks a judge: choose who with model@judge.model=NAME, and give judge.prompt its words"
                )
            if self.unparsed == "wrong":
                raise ValueError(
                    "a reply of the judge without a score says nothing of the answer: leave judge.unparsed out"
                )
        elif self.model is not None or self.prompt is not None or self.repeats > 1:
            raise ValueError(f"{self.kind} is a rule and asks nobody: leave judge.model, prompt and repeats out")
        return self

    def _check_members(self) -> None:
        """Refuses members who cannot score together."""
        if not make_scorer(self.scorer).has_members:
            raise ValueError(f"{self.kind} scores alone: leave judge.members out, or take judge.kind=jury")
        own = (self.model, self.prompt, self.unparsed, self.baseline, self.baseline_setting)
        if any(value is not None for value in own) or self.repeats > 1:
            raise ValueError(
                f"{self.kind} asks its members: leave judge.model, prompt, repeats, unparsed and baseline to them"
            )
        members = list(self.members.values())
        names = [judge.name for judge in members]
        if len(members) < 2 or any(judge.members for judge in members):
            raise ValueError(
                f"{self.kind} needs at least two members that are no juries: choose each with "
                "judge@judge.members.KEY=NAME"
            )
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"two members are called {twice[0]!r}: give one another name with judge.members.KEY.name=NAME"
            )
        metrics = {judge.name: make_scorer(judge.scorer).metrics[0] for judge in members}
        if len(set(metrics.values())) > 1:
            said = ", ".join(
                f"{name}: {metric.name} from {metric.low} to {metric.high}" for name, metric in metrics.items()
            )
            raise ValueError(f"members who grade in different metrics make no jury ({said}): choose judges of one")
        if any(_compared(judge) != _compared(members[0]) for judge in members):
            raise ValueError("members who compare with different baselines make no jury: give them one baseline")
        quorum = self.scorer.options.get("quorum")
        if quorum is not None and quorum > len(members):
            raise ValueError(f"a quorum of {quorum} cannot be reached by {len(members)} members: lower judge.quorum")

    @property
    def scorer(self) -> ScorerSpec:
        """The scorer with its options."""
        return ScorerSpec(self.kind, dict(self.model_extra or {}), file_of(self.kind))

    @property
    def compared(self) -> JudgeConfig | None:
        """The judge that names the baseline: this one, or the first of its members; None where there is none."""
        first = next(iter(self.members.values()), self)
        return first if first.baseline is not None else None

    @property
    def cell_name(self) -> str:
        """The name that cells have of it: with its baseline's, where it compares."""
        if (compared := self.compared) is None or compared.baseline is None:
            return self.name
        setting = f"_{compared.baseline_setting.name}" if compared.baseline_setting else ""
        return f"{self.name}_vs_{compared.baseline.name}{setting}"

    @property
    def is_unparsed_wrong(self) -> bool:
        """Whether an answer in which the scorer finds nothing counts as wrong."""
        return self.model is None and self.unparsed != "missing"


def _compared(judge: JudgeConfig) -> tuple[ModelConfig | None, SettingConfig | None]:
    return judge.baseline, judge.baseline_setting


def _check_location(value: str) -> str:
    """A location that carries a secret, or that no storage answers to, is refused before anything is written."""
    read_location(value)
    return value


# A value of a dataset's column, as it is written in YAML.
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None


def _as_list(value: object) -> object:
    """A list, of one where it is a single value."""
    return value if isinstance(value, list | tuple) else [value]


class ExamplesConfig(Frozen):
    """Samples of a prepared dataset that prompts read as `examples` (few-shot); the same for all samples."""

    path: PathText  # of the dataset; the same one may be meant: no sample is shown to itself
    number: PositiveInt  # examples that are shown
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None  # by which they are drawn; None: the sweep's

    _can_be_opened = field_validator("path")(_check_location)


class DatasetConfig(Frozen):
    """A prepared dataset.

    Attributes:
        subset: which variant of the dataset's own prompts applies, where it has several; None: the first.
        sample: which samples a `limit` takes: the first; random ones; or random ones from each group, in proportion to
            its size.
        sample_seed: of such a sample; None: the sweep's `seed`.
        stratify_by: columns whose values are the groups; empty: those of `group_by`.
        filter: column -> the value, or the list of values, that samples must have to be asked; None: all are.
        prepare: the command that makes it, for whom it is missing; `{parent}` in it is the folder that `path` lies in.
    """

    name: Filled
    path: PathText  # a folder or a bucket's prefix (s3://, gs://) that `eibench-ray prepare` wrote, or `package:demo`
    subset: Filled | None = None
    group_by: list[Filled] = []  # columns of its samples, by which scores are given, too, e.g. `category`.
    limit: PositiveInt | None = None  # only so many samples; None takes all
    sample: Literal["first", "random", "stratified"] = "first"
    sample_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stratify_by: list[Filled] = []
    filter: dict[Filled, Annotated[list[Scalar], Field(min_length=1), BeforeValidator(_as_list)]] | None = None
    examples: ExamplesConfig | None = None
    expect_rows: PositiveInt | None = None  # how many samples the dataset has, for planning before it is prepared
    prepare: Filled | None = None

    _can_be_opened = field_validator("path")(_check_location)

    @model_validator(mode="after")
    def _has_strata(self) -> DatasetConfig:
        if self.sample == "stratified" and not (self.stratify_by or self.group_by):
            raise ValueError(
                "a stratified sample is drawn from groups: name their columns in dataset.stratify_by or group_by"
            )
        return self


class StoreConfig(Frozen):
    """The Parquet root.

    Attributes:
        root: a folder that every node sees, or a bucket's prefix (s3://, gs://); steps of all sweeps live in it,
            content-addressed.
        slice_rows: rows per slice for steps that are new to the store; a known step keeps its own. `auto`: by the rows
            of the step and the replicas that are expected to share them.
    """

    root: PathText
    slice_rows: PositiveInt | Literal["auto"] = "auto"

    _can_be_opened = field_validator("root")(_check_location)

    @field_validator("slice_rows", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        """One message instead of one per member of the union."""
        return number_or_auto(value, "rows")


class ScoreConfig(Frozen):
    """The confidence of all intervals; they are in closed form."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95  # of each interval, e.g. 0.95.


class RunConfig(Frozen):
    """One cell of a sweep, and how to run it.

    Attributes:
        budget_usd: what the requests of this sweep may cost in all, over all of its runs; None: no limit.
        retry: which rows of earlier runs are asked again: none; the `errors` that may pass, such as a deadline; or with
            them the `quarantined` ones, of which their engine died.
    """

    sweep: Filled  # the sweep's name: the group under which its runs are tracked
    model: ModelConfig
    setting: SettingConfig
    dataset: DatasetConfig
    judge: JudgeConfig
    captioner: ModelConfig | None = None  # the model that answers `captioner` calls; None: the dataset's own captions
    asker: ModelConfig | None = None  # the model that answers `asker` calls; None: no setting of the sweep has any
    cluster: ClusterConfig
    tracking: TrackingConfig
    store: StoreConfig
    score: ScoreConfig = ScoreConfig()
    report: ReportConfig = ReportConfig()
    budget_usd: PositiveFloat | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # base of every request's seed
    retry: Retry = "errors"

    @model_validator(mode="after")
    def _engines_that_are_asked_say_words(self) -> RunConfig:
        """An engine that measures texts answers no call, and judges only for a scorer that reads its measurements."""
        judges = (
            ("judge.model", self.judge),
            *((f"judge.members.{key}.model", judge) for key, judge in self.judge.members.items()),
        )
        compared = self.judge.compared
        for key, model in (
            ("model", self.model),
            ("captioner", self.captioner),
            ("asker", self.asker),
            ("judge.baseline", compared.baseline if compared else None),
            *((key, judge.model) for key, judge in judges if make_scorer(judge.scorer).engine_kind is None),
        ):
            if model is not None and not model.engine.says_words:
                raise ValueError(f"{key}.engine.kind {model.engine.kind} measures texts and says nothing in words")
        return self

    def model_of(self, role: Role) -> ModelConfig | None:
        """The model that answers the calls of a role; None where none was chosen."""
        models = {"subject": self.model, "captioner": self.captioner, "asker": self.asker}
        return models[role]


class ServeConfig(Frozen):
    """A model behind an endpoint, and where it runs."""

    model: ModelConfig
    cluster: ClusterConfig
