"""The configuration of one cell, validated once and frozen. No DictConfig goes beyond this package.

Every key with its unit and meaning, but for those of clusters (cluster.py), engines (their kinds' own) and settings
(settings.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engine_section import AnyEngineSection
from eibench_ray.config.section import Filled, Frozen, PathText, number_or_auto
from eibench_ray.config.setting import Role, SamplingConfig, SettingConfig
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.rows.completion import Retry
from eibench_ray.storage.location import read_location


class ExpectConfig(Frozen):
    """Priors for planning; what a run measures replaces them.

    Attributes:
        load_s: seconds from start to the first request.
        tokens_per_s: generated tokens per second of one full replica.
        alone_tokens_per_s: generated tokens per second of a request that is alone; None: four times its share of it.
        batch: requests whose KV cache fits at once; None: max_num_seqs.
        tokens_per_row: generated tokens of a reply; None: a share of the call's max_tokens.
        memory_gb: GB of GPU memory for the weights of one replica; None: from the checkpoint's own metadata.
    """

    load_s: PositiveFloat = 120.0
    tokens_per_s: PositiveFloat = 1000.0
    alone_tokens_per_s: PositiveFloat | None = None
    batch: PositiveInt | None = None
    tokens_per_row: PositiveFloat | None = None
    memory_gb: PositiveFloat | None = None


class AvailabilityConfig(Frozen):
    """Availability of a model: open, gated, an endpoint, recorded, retired.

    Attributes:
        status: `open` weights; `gated` ones, behind a licence to accept; an `endpoint`; answers that were `recorded`;
            `retired`: no longer to be had, but for its recorded answers.
        ends: the day on which its provider ended it, or will, as it was announced; as of then its endpoint is retired.
        note: what else a reader must know.
    """

    status: Literal["open", "gated", "endpoint", "recorded", "retired"]
    ends: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    note: str | None = None


class ModelConfig(Frozen):
    """A model under test, a captioner, an asker, or the model behind a judge.

    Attributes:
        sees_image: False marks a text-only model: it is never sent a picture, and every table says so.
        system: a system prompt that this model always gets; None sends none.
        family: whose kin it is, e.g. `llama`: a judge of the same family is flagged; None: not known.
        licence: of its weights: an SPDX identifier, or the name that the hub has for it; `proprietary` for a service.
        availability: where it is to be had; None: nothing is known.
    """

    name: Filled
    engine: AnyEngineSection
    sees_image: bool
    family: str | None = None
    system: str | None = None
    licence: str | None = None
    availability: AvailabilityConfig | None = None
    expect: ExpectConfig = ExpectConfig()


class CoherenceConfig(Frozen):
    """Measures the long-term coherence of answers: the mean cosine between embeddings of adjacent sentences.

    Attributes:
        expect: an answer that is measured counts as one generated token.
    """

    name: Filled
    engine: AnyEngineSection
    licence: str | None = None
    expect: ExpectConfig = ExpectConfig(load_s=20.0, tokens_per_s=20.0, tokens_per_row=1.0)


class JudgeConfig(Frozen):
    """Engine + prompt + parser that turn an answer into a verdict.

    Attributes:
        kind: `strict` asks for constrained JSON and checks it; `official` follows EIBench's published scripts.
        variant: which of the protocol's judges `official` uses.
        wording: as in a setting.
        verdict: what `strict` asks for: true or false for each of the `triggers`, or their `count`.
        explanation_chars: longest explanation that the strict schema allows; 0 asks for none.
        repeats: verdicts per answer, each with its own seed; they show the judge's own noise.
    """

    name: Filled
    kind: Literal["strict", "official"]
    model: ModelConfig
    variant: Literal["llama3", "gpt"] = "llama3"
    wording: Literal["auto", "official", "own"] = "auto"
    system: str
    prompt: str
    sampling: SamplingConfig = SamplingConfig()
    verdict: Literal["triggers", "count"] = "count"
    explanation_chars: Annotated[int, Field(ge=0)] = 200
    repeats: PositiveInt = 1

    @model_validator(mode="after")
    def _published_verdicts_are_counts(self) -> JudgeConfig:
        if self.kind == "official" and self.verdict == "triggers":
            raise ValueError("the published protocol counts triggers: set judge.verdict=count, or judge.kind=strict")
        return self


def _check_location(value: str) -> str:
    """A location that carries a secret, or that no storage answers to, is refused before anything is written."""
    read_location(value)
    return value


class DatasetConfig(Frozen):
    """A prepared dataset.

    Attributes:
        path: a folder or a bucket's prefix (s3://, gs://) that `eibench-ray prepare` wrote, or `package:demo`.
        subset: which of the protocol's variants applies: EIBench words its complex subset's judge differently.
        limit: only the first so many samples; None takes all.
        expect_rows: how many samples the dataset has, for planning before it is prepared.
    """

    name: Filled
    path: PathText
    subset: Literal["basic", "complex"] = "basic"
    limit: PositiveInt | None = None
    expect_rows: PositiveInt | None = None

    _can_be_opened = field_validator("path")(_check_location)


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
    """Confidence and resampling of a cell's intervals.

    Attributes:
        confidence: of the bootstrap interval, e.g. 0.95.
        resamples: bootstrap resamples, clustered by image.
    """

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: PositiveInt = 2000


class RunConfig(Frozen):
    """One cell of a sweep, and how to run it.

    Attributes:
        sweep: the sweep's name: the group under which its runs are tracked.
        budget_usd: what the requests of this sweep may cost in all, over all of its runs; None: no limit.
        captioner: the model that answers `captioner` calls; None: the dataset's own captions.
        asker: the model that answers `asker` calls; None: no setting of the sweep has any.
        coherence: what measures the answers' coherence; None: it is not measured.
        seed: base of every request's seed.
        retry: which rows of earlier runs are asked again: none; the `errors` that may pass, such as a deadline; or with
            them the `quarantined` ones, of which their engine died.
    """

    sweep: Filled
    model: ModelConfig
    setting: SettingConfig
    dataset: DatasetConfig
    judge: JudgeConfig
    captioner: ModelConfig | None = None
    asker: ModelConfig | None = None
    coherence: CoherenceConfig | None = None
    cluster: ClusterConfig
    tracking: TrackingConfig
    store: StoreConfig
    score: ScoreConfig = ScoreConfig()
    budget_usd: PositiveFloat | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    retry: Retry = "errors"

    def model_of(self, role: Role) -> ModelConfig | None:
        """The model that answers the calls of a role; None where none was chosen."""
        models = {"subject": self.model, "captioner": self.captioner, "asker": self.asker}
        return models[role]


class ServeConfig(Frozen):
    """A model behind an endpoint, and where it runs."""

    model: ModelConfig
    cluster: ClusterConfig
