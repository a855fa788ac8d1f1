"""The plan: a graph of content-addressed steps, and the cells that read from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eibench_ray.plan.engine_traits import Availability, EngineTraits, Expectation
from eibench_ray.plan.fanout import Item
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.prices import Price
from eibench_ray.rows.request import AcceptRule, Sampling

# Whose words replies are: a model's, nobody's (echo makes them up), or recorded ones; a rule's scores are no words.
Source = Literal["model", "echo", "replay", "rule"]


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """A replica's share of its GPUs' memory, against what they have.

    Attributes:
        weights_gb: GB of weights, all GPUs of a replica together.
        kv_gb: GB of KV cache that one sequence of max_model_len takes, all GPUs together; None: not known.
        gpu_memory_gb: GB that each GPU must have for its share of both, activations and CUDA graphs included.
        available_gb: GB that each GPU has, as far as the plan knows.
        source: `checkpoint`: from its metadata; `expect`: the weights are the configuration's prior.
        gpus_from: whence the GPUs' memory is known, in words.
    """

    weights_gb: float
    kv_gb: float | None
    gpu_memory_gb: float
    available_gb: float
    source: Literal["checkpoint", "expect"]
    gpus_from: str = "cluster.expect"

    @property
    def fits(self) -> bool:
        """Whether each GPU has enough for at least one sequence at a time."""
        return self.gpu_memory_gb <= self.available_gb


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of the plan: what is loaded once, whoever uses it.

    Attributes:
        key: digest of the engine's identity (weights and revision, dtype, quantisation, version, chat template; of an
            endpoint: who answers, under which name, and what else of a request the configuration decides).
        name: the model's name, for people.
        kind: the engine kind's name.
        settings: its section of the configuration, as plain values.
        device: `cpu` or `cuda`.
        recording: for a replay engine, its file of predictions; None for the others.
        num_gpus: GPUs that one replica owns; 0 on a CPU, unless other resources stand in for GPUs.
        traits: how its kind says that it behaves.
        memory: None where it owns no GPU, or where nothing is known of its weights.
        availability: where its model is to be had; None: nothing is known.
        chosen: settings that are `auto` in the configuration, as the plan chose them for the GPUs' memory.
        most_images: pictures of one of its requests at most.
    """

    key: str
    name: str
    kind: str
    settings: Mapping[str, Any]
    device: Literal["cpu", "cuda"]
    recording: str | None
    num_gpus: int
    expect: Expectation
    traits: EngineTraits
    memory: MemoryFit | None = None
    availability: Availability | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)
    most_images: int = 0

    @property
    def is_load(self) -> bool:
        """Whether starting it counts as a load; a file of recorded predictions is only read, an endpoint only asked."""
        return not (self.traits.is_recorded or self.traits.is_endpoint)

    @property
    def source(self) -> Source:
        """Source of its replies: a model, echo, or a recording."""
        if self.traits.is_rehearsal:
            return "echo"
        return "replay" if self.traits.is_recorded else "model"

    @property
    def price(self) -> Price | None:
        """The price of its tokens; None where that is nothing, or not known."""
        return self.traits.price


@dataclass(frozen=True, slots=True)
class Prompt:
    """A step's prompt.

    Attributes:
        user: Jinja2 text over the sample's fields and the inputs' answers.
        image: whether the picture is sent.
        is_official: whether the words are the dataset's protocol's.
    """

    system: str | None
    user: str
    image: bool
    is_official: bool


@dataclass(frozen=True, slots=True)
class Step:
    """(engine, prompt, sampling) over the rows of a dataset. Equal steps of different cells are one step.

    Attributes:
        id: digest of what the step is.
        name: what it is for: `caption`, `answer`, `verdict`, ...
        engine: key of its engine.
        inputs: word -> id of the step whose answers the prompt reads under that word.
        item: for a step of a fan-out, what it is about.
        lists: word -> the items of a fan-out that the prompt reads as a list; the answers about them are inputs.
        scorer: of a verdict, the scorer that says what is asked about a sample, with the options that this depends on.
        accept: when to ask again; None: the first reply stands.
    """

    id: str
    name: str
    engine: str
    prompt: Prompt
    sampling: Sampling
    seed: int
    dataset: str
    inputs: Mapping[str, str]
    scorer: ScorerSpec | None = None
    accept: AcceptRule | None = None
    item: Item | None = None
    lists: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)

    @property
    def is_bounded(self) -> bool:
        """Whether lines of earlier answers decide which rows are asked: their number is known only at most."""
        return self.item is not None and self.item.source is not None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One dataset of the plan.

    Attributes:
        num_rows: rows that the sweep asks, after `limit`.
        is_prepared: False where only the configuration says how many rows there are.
        group_by: columns of its samples, by which scores are given, too.
        most_media: pictures of one sample at most; a guess where it is not prepared.
    """

    name: str
    path: str
    limit: int | None
    num_rows: int
    is_prepared: bool
    group_by: tuple[str, ...] = ()
    most_media: int = 1


@dataclass(frozen=True, slots=True)
class Blocker:
    """The reason why an engine cannot run here.

    Attributes:
        model: the engine's name.
        problem: in a few words that are the same for all who have it: `no key`, `no recorded predictions`, ...
        detail: which one: a variable, a file, ...
        remedy: what a person can do, as a sentence without its end.
    """

    model: str
    problem: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.model}: {self.problem}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One model x setting x dataset x judge.

    Attributes:
        key: digest of the cell's names and steps: the same cell in another run has the same key.
        scorer: how its answers are scored.
        is_unparsed_wrong: whether an answer in which the scorer finds nothing counts as wrong; else it has no score.
        answer: id of the step whose rows are scored.
        verdicts: ids of the steps that judge them, one per repeat of the judge; none where a rule does.
        steps: ids of all steps that the cell needs, inputs first.
        self_judged: whether the model is its own judge.
        config: the cell's validated configuration, as plain values.
        family, judge_family: whose kin the model and its judge are; None: not known.
        obstacles: why it cannot run here, of each of its engines that still has something to do; none: it can.
    """

    key: str
    model: str
    setting: str
    dataset: str
    judge: str
    scorer: ScorerSpec
    sees_image: bool
    self_judged: bool
    answer: str
    verdicts: tuple[str, ...]
    steps: tuple[str, ...]
    config: Mapping[str, Any]
    is_unparsed_wrong: bool = False
    family: str | None = None
    judge_family: str | None = None
    obstacles: tuple[Blocker, ...] = ()

    @property
    def same_family(self) -> bool:
        """Whether the judge is another model of the family of the model under test."""
        return not self.self_judged and self.family is not None and self.family == self.judge_family

    @property
    def name(self) -> str:
        """The cell in words: model/setting/dataset/judge."""
        return f"{self.model}/{self.setting}/{self.dataset}/{self.judge}"

    @property
    def blocked(self) -> str | None:
        """The reason why it cannot run here, in one line; None where it can."""
        return "; ".join(map(str, self.obstacles)) or None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole sweep: what is loaded, what is asked, and who needs what.

    Attributes:
        sweep: the sweep's name.
        engines: by key.
        datasets: by name.
        steps: by id, inputs before what reads them.
    """

    sweep: str
    engines: Mapping[str, EngineSpec]
    datasets: Mapping[str, DatasetSpec]
    steps: Mapping[str, Step]
    cells: tuple[Cell, ...]

    def source_of(self, *steps: str) -> Source:
        """Source of what some steps' replies rest on: one that echo makes up spoils what is made of it."""
        sources = {self.engines[self.steps[step].engine].source for step in steps}
        return "echo" if "echo" in sources else "replay" if "replay" in sources else "model"

    def answer_source(self, cell: Cell) -> Source:
        """Source of a cell's answers, and of what they were made from."""
        return self.source_of(*(step for step in cell.steps if step not in cell.verdicts))

    def judge_source(self, cell: Cell) -> Source:
        """Source of a cell's verdicts; of a rule's scores, `rule`."""
        return self.source_of(*cell.verdicts) if cell.verdicts else "rule"

    def engines_of(self, steps: Iterable[str]) -> list[str]:
        """Keys of the engines that some steps ask, in the plan's order."""
        asked = {self.steps[step].engine for step in steps}
        return [key for key in self.engines if key in asked]

    @property
    def num_requests(self) -> int:
        """One per row of each step; fewer are sent where rows are absent."""
        return sum(self.datasets[step.dataset].num_rows for step in self.steps.values())
