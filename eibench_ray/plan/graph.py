"""The plan: a graph of content-addressed steps, and the cells that read from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eibench_ray.plan.engine_traits import Adapter, Availability, EngineTraits, Expectation, Words
from eibench_ray.plan.example_set import ExampleSet
from eibench_ray.plan.fanout import Item
from eibench_ray.plan.packed_rows import unpack
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.choices import ChoiceRule
from eibench_ray.rows.prices import Price
from eibench_ray.rows.request import AcceptRule, Sampling

# Whose words replies are, as their engines say; a rule's scores are no words.
Source = Words | Literal["rule"]
# The words under which a prompt that compares two answers reads them, in the order in which it shows them.
COMPARED = ("first_answer", "second_answer")


def join_sources(sources: Iterable[Source]) -> Source:
    """Source of what is made from all of these: a reply that is made up spoils it."""
    found = set(sources)
    return "made_up" if "made_up" in found else "recorded" if "recorded" in found else "model"


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """A replica's share of its GPUs' memory, against what they have.

    Attributes:
        source: `checkpoint`: from its metadata; `expect`: the weights are the configuration's prior.
    """

    weights_gb: float  # GB of weights, all GPUs of a replica together
    kv_gb: float | None  # GB of KV cache that one sequence of max_model_len takes, all GPUs together; None: not known
    gpu_memory_gb: float  # GB that each GPU must have for its share of both, activations and CUDA graphs included
    available_gb: float  # GB that each GPU has, as far as the plan knows
    source: Literal["checkpoint", "expect"]
    gpus_from: str = "cluster.expect"  # whence the GPUs' memory is known, in words

    @property
    def fits(self) -> bool:
        """Whether each GPU has enough for at least one sequence at a time."""
        return self.gpu_memory_gb <= self.available_gb


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of the plan: what is loaded once, whoever uses it.

    Attributes:
        key: digest of the engine's identity (weights and revision, dtype, quantisation, version, chat template; of an
            endpoint: who answers, under which name, and what else of a request the configuration decides). Adapters
            are part of what a step is, not of what is loaded.
        chosen: settings that are `auto` in the configuration, as the plan chose them for the GPUs' memory.
        ram_gb: GB of RAM that one replica takes which computes on cores; 0 where that is not known.
    """

    key: str
    name: str  # the model's name, for people
    kind: str  # the engine kind's name
    settings: Mapping[str, Any]  # its section of the configuration, as plain values
    device: Literal["cpu", "cuda"]  # `cpu` or `cuda`
    recording: str | None  # for a replay engine, its file of predictions; None for the others
    num_gpus: int  # GPUs that one replica owns; 0 on a CPU, unless other resources stand in for GPUs
    expect: Expectation
    traits: EngineTraits  # how its kind says that it behaves
    memory: MemoryFit | None = None  # None where it owns no GPU, or where nothing is known of its weights
    availability: Availability | None = None  # where its model is to be had; None: nothing is known
    chosen: Mapping[str, Any] = field(default_factory=dict)
    most_images: int = 0  # pictures of one of its requests at most
    adapters: tuple[Adapter, ...] = ()  # that its requests name
    ram_gb: float = 0.0

    @property
    def is_load(self) -> bool:
        """Whether starting it counts as a load; a file of recorded predictions is only read, an endpoint only asked."""
        return not (self.traits.is_recorded or self.traits.is_endpoint)

    @property
    def price(self) -> Price | None:
        """The price of its tokens; None where that is nothing, or not known."""
        return self.traits.price


@dataclass(frozen=True, slots=True)
class Prompt:
    """A step's prompt."""

    system: str | None
    user: str  # Jinja2 text over the sample's fields and the inputs' answers
    image: bool  # whether the picture is sent
    is_official: bool  # whether the words are the dataset's protocol's


@dataclass(frozen=True, slots=True)
class Step:
    """(engine, prompt, sampling) over the rows of a dataset. Equal steps of different cells are one step.

    Attributes:
        lists: word -> the items of a fan-out that the prompt reads as a list; the answers about them are inputs.
        scorer: of a verdict, the scorer that says what is asked about a sample, with the options that this depends on.
    """

    id: str  # digest of what the step is
    name: str  # what it is for: `caption`, `answer`, `verdict`, ..
    engine: str  # key of its engine
    prompt: Prompt
    sampling: Sampling
    seed: int
    dataset: str
    inputs: Mapping[str, str]  # word -> id of the step whose answers the prompt reads under that word
    scorer: ScorerSpec | None = None
    accept: AcceptRule | None = None  # when to ask again; None: the first reply stands
    item: Item | None = None  # for a step of a fan-out, what it is about
    lists: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    adapter: str | None = None  # key of the adapter that its requests name; None: they are the engine's own
    examples: ExampleSet | None = None  # those that its prompt reads; None: it reads none
    choices: ChoiceRule | None = None  # those whose likelihoods are compared; None: its replies are generated

    @property
    def asked(self) -> tuple[str, str | None]:
        """Keys of the engine and the adapter: equal ones answer alike."""
        return self.engine, self.adapter

    @property
    def is_bounded(self) -> bool:
        """Whether lines of earlier answers decide which rows are asked: their number is known only at most."""
        return self.item is not None and self.item.source is not None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One dataset of the plan."""

    name: str
    path: str
    limit: int | None
    num_rows: int  # rows that the sweep asks, after `filter` and `limit`
    is_prepared: bool  # False where only the configuration says how many rows there are
    group_by: tuple[str, ...] = ()  # columns of its samples, by which scores are given, too
    most_media: int = 1  # pictures of one sample at most; a guess where it is not prepared
    chosen: str | None = None  # which rows the sweep asks, as `packed_rows` has them; None: the first
    choice: str = ""  # how they were chosen, in words; empty where they are the first

    @property
    def rows(self) -> Sequence[int]:
        """Numbers of the rows that the sweep asks, ascending."""
        return range(self.num_rows) if self.chosen is None else unpack(self.chosen)


@dataclass(frozen=True, slots=True)
class Blocker:
    """The reason why an engine cannot run here."""

    model: str  # the engine's name
    problem: str  # in a few words that are the same for all who have it: `no key`, `no recorded predictions`, ..
    detail: str  # which one: a variable, a file, ..
    remedy: str  # what a person can do, as a sentence without its end

    def __str__(self) -> str:
        return f"{self.model}: {self.problem}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Juror:
    """One of the judges that score a cell together."""

    name: str  # as the judge is called where it judges alone
    scorer: ScorerSpec
    repeats: int  # verdicts on each answer; 0 where it is a rule
    is_unparsed_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Baseline:
    """The answers that a cell's answers are held against."""

    model: str
    setting: str
    judge: str  # the judge's name where no baseline is told
    answers: tuple[str, ...]  # ids of the steps that made them, one per repeat of the cell's setting
    is_judge: bool = False  # whether the judge is the model that made them


@dataclass(frozen=True, slots=True)
class Cell:
    """One model x setting x dataset x judge.

    Attributes:
        verdicts: ids of the steps that judge the answers, one per repeat of the judge, of a jury member by member; none
            where a rule scores them. Against a baseline two per repeat: the answer first, then the baseline's first.
        is_unparsed_wrong: whether an answer in which the scorer finds nothing counts as wrong; else it has no score.
        family, judge_family: whose kin the model and its judge are; None: not known. Of a jury, the family that one of
            its members has in common with the model, else those of all.
        jurors: of a jury, its members.
        blockers: why it cannot run here, of each of its engines that still has something to do; none: it can.
        further_answers: ids of the steps that answer again, where the setting repeats. Each repeat is judged by itself:
            `verdicts` has those of the first answer, then those of the second, and so on, as many of each.
        baseline: what each answer is held against; None where answers are judged by themselves.
    """

    key: str  # digest of the cell's names and steps: the same cell in another run has the same key
    model: str
    setting: str
    dataset: str
    judge: str
    scorer: ScorerSpec  # how its answers are scored
    sees_image: bool
    self_judged: bool  # whether the model is its own judge
    answer: str  # id of the step whose rows are scored; of the first, where the setting repeats
    verdicts: tuple[str, ...]
    steps: tuple[str, ...]  # ids of all steps that the cell needs, inputs first
    config: Mapping[str, Any]  # the cell's validated configuration, as plain values
    is_unparsed_wrong: bool = False
    family: str | None = None
    judge_family: str | None = None
    jurors: tuple[Juror, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    further_answers: tuple[str, ...] = ()
    baseline: Baseline | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """Ids of the steps whose rows are scored, one per repeat of the setting."""
        return self.answer, *self.further_answers

    @property
    def judge_repeats(self) -> int:
        """Verdicts on each answer; 0 where a rule scores."""
        return len(self.verdicts) // len(self.answers)

    @property
    def same_family(self) -> bool:
        """Whether the judge is another model of the family of the model under test."""
        return not self.self_judged and self.family is not None and self.family == self.judge_family

    @property
    def seats(self) -> list[tuple[str, int]]:
        """The judge's name and the number of its repeat, from 0, of each verdict on an answer, in their order."""
        alone = self.baseline.judge if self.baseline else self.judge
        judges = [(one.name, one.repeats) for one in self.jurors] or [(alone, self.judge_repeats)]
        orders = 2 if self.baseline else 1
        return [(name, number // orders) for name, verdicts in judges for number in range(verdicts)]

    @property
    def orders(self) -> list[str]:
        """The answer that stood first in each of these verdicts, in words; empty where one stood alone."""
        orders = ["answer first", "baseline first"] if self.baseline else [""]
        return orders * (self.judge_repeats // len(orders))

    @property
    def name(self) -> str:
        """The cell in words: model/setting/dataset/judge."""
        return f"{self.model}/{self.setting}/{self.dataset}/{self.judge}"

    @property
    def blocked(self) -> str | None:
        """The reason why it cannot run here, in one line; None where it can."""
        return "; ".join(map(str, self.blockers)) or None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole sweep: what is loaded, what is asked, and who needs what."""

    sweep: str  # the sweep's name
    engines: Mapping[str, EngineSpec]  # by key
    datasets: Mapping[str, DatasetSpec]  # by name
    steps: Mapping[str, Step]  # by id, inputs before what reads them
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...] = ()  # names of the cells that would compare a model's answers with themselves

    def model_of(self, step: Step) -> str:
        """The name of the model that a step asks: its adapter's, else its engine's."""
        spec = self.engines[step.engine]
        return next((adapter.name for adapter in spec.adapters if adapter.key == step.adapter), spec.name)

    def source_of(self, *steps: str) -> Source:
        """Source of what some steps' replies rest on."""
        return join_sources(self.engines[self.steps[step].engine].traits.words for step in steps)

    def sources_of(self, step: str) -> frozenset[str]:
        """Ids of a step and of all whose answers it rests on."""
        return frozenset({step}).union(*map(self.sources_of, self.steps[step].inputs.values()))

    def steps_behind(self, steps: Iterable[str]) -> frozenset[str]:
        """Ids of some steps and of all whose answers they rest on."""
        return frozenset().union(*map(self.sources_of, steps))

    def answer_source(self, cell: Cell) -> Source:
        """Source of a cell's answers, and of what they were made from."""
        return self.source_of(*self.steps_behind(cell.answers))

    def judge_source(self, cell: Cell) -> Source:
        """Source of a cell's verdicts, and of the baseline that they compare with; of a rule's scores, `rule`."""
        compared = cell.baseline.answers if cell.baseline else ()
        return self.source_of(*cell.verdicts, *self.steps_behind(compared)) if cell.verdicts else "rule"

    def engines_of(self, steps: Iterable[str]) -> list[str]:
        """Keys of the engines that some steps ask, in the plan's order."""
        asked = {self.steps[step].engine for step in steps}
        return [key for key in self.engines if key in asked]

    @property
    def num_requests(self) -> int:
        """One per row of each step; fewer are sent where rows are absent."""
        return sum(self.datasets[step.dataset].num_rows for step in self.steps.values())
