"""The paper's sweep in the simulator: wall-clock time over lower bound, and the two baselines on the same input.

    python -m bench.simulate_paper [--gpus 8,64,512] [--failing 0,0.05] [--seeds 5] [--speeds roofline|batched]
    python -m bench.simulate_paper --scale

The sweep is the paper's in size: 13 models x 3 settings x 2 judges over 1,665 samples, as if all 13 ran on the cluster;
the four large open ones do, and in the place of models behind an API or without a working checkpoint stand engines of
7B, 13B and 34B. Nodes have 8 GPUs of 80 GB. `--scale` simulates 10 million requests on 4,096 GPUs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from bench.baselines import reload_per_cell, two_phase
from bench.result_file import Ratio, write_result
from eibench_ray.config.cluster import ClusterConfig, ClusterExpectation
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.estimate.simulated_case import Case, SimulationResult, World, uniform_nodes
from eibench_ray.estimate.simulator import Simulator
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import Cell, DatasetSpec, Plan, Prompt, Step
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.plan.slices import StepWork, cut
from eibench_ray.planner.slice_size import choose_slice_rows
from eibench_ray.rows.request import Sampling
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources

NUM_SAMPLES = 1665
GPUS_PER_NODE = 8
# Of simulated times, which depend on the seeds alone.
_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Size:
    """GPUs and speed of an engine of some size."""

    gpus: int
    load_s: float
    tokens_per_s: float
    capacity: int


class Speeds(StrEnum):
    """Which speeds are taken for true."""

    ROOFLINE = "roofline"
    BATCHED = "batched"


SPEEDS: Mapping[Speeds, Mapping[str, Size]] = {
    # The priors of the option files (conf/model): rooflines of an A100 with a large picture before every short reply.
    # 13b stands between llava_next_13b (190 tokens/s) and llava_1_5_13b (700), whose pictures are smaller. Capacity is
    # what the cache holds at once of such prompts, where that is less than max_num_seqs.
    Speeds.ROOFLINE: {
        "7b": Size(1, 90, 370, 32),
        "8b": Size(1, 90, 2300, 128),
        "13b": Size(1, 120, 300, 24),
        "34b": Size(2, 240, 220, 32),
    },
    # Large batches of small pictures: loads weigh more against replies.
    Speeds.BATCHED: {
        "7b": Size(1, 90, 2500, 128),
        "8b": Size(1, 90, 5000, 256),
        "13b": Size(1, 120, 1600, 128),
        "34b": Size(2, 240, 900, 64),
    },
}
MODELS = {
    "qwen_vl_chat": "7b",
    "video_llava": "7b",
    "minigpt_v2": "7b",
    "otter": "7b",
    "llava_1_5_13b": "13b",
    "llava_next_7b": "7b",
    "llava_next_13b": "13b",
    "llava_next_34b": "34b",
    "qwen_vl_plus": "34b",
    "chatgpt_4v": "34b",
    "chatgpt_4o": "34b",
    "claude_3_haiku": "13b",
    "claude_3_sonnet": "13b",
}
CAPTIONER, JUDGE = "llava_next_34b", "llama3_8b"
SIZES = {**MODELS, JUDGE: "8b"}
SETTINGS = ("user_question", "user_question_caption", "user_question_cot")
JUDGES = ("llama3_8b", "llama3_8b_strict")
# Tokens of a reply: the mean, and the most that is allowed.
TOKENS = {
    "caption": (150, 512),
    "user_question": (150, 512),
    "user_question_caption": (150, 512),
    "user_question_cot": (300, 512),
    "llama3_8b": (80, 384),
    "llama3_8b_strict": (60, 256),
}


def paper_plan(num_samples: int, speeds: Speeds) -> Plan:
    """13 models x 3 settings x 2 judges; the captions are asked once."""
    steps: dict[str, Step] = {}
    cells = []

    def add(step: str, name: str, kind: str, engine: str, **inputs: str) -> str:
        prompt = Prompt(None, "", image=name != "verdict", is_official=False)
        steps[step] = Step(step, name, engine, prompt, Sampling(0.0, 1.0, TOKENS[kind][1]), 0, "eibench", inputs)
        return step

    caption = add("caption", "caption", "caption", CAPTIONER)
    for model in MODELS:
        for setting in SETTINGS:
            inputs = {"caption": caption} if setting == "user_question_caption" else {}
            answer = add(f"{model}/{setting}", "answer", setting, model, **inputs)
            for judge in JUDGES:
                verdict = add(f"{answer}/{judge}", "verdict", judge, JUDGE, answer=answer)
                needed = (*inputs.values(), answer, verdict)
                names = (model, setting, "eibench", judge)
                cells.append(Cell(verdict, *names, ScorerSpec("strict"), True, False, answer, (verdict,), needed, {}))
    engines = {}
    for key, name in SIZES.items():
        size = SPEEDS[speeds][name]
        expect = Expectation(load_s=size.load_s, tokens_per_s=size.tokens_per_s, batch=size.capacity)
        engines[key] = engine_spec(key, key, EchoSection(kind="echo"), "cuda", None, size.gpus, expect)
    dataset = DatasetSpec("eibench", "eibench", None, num_samples, is_prepared=False)
    return Plan("paper", engines, {"eibench": dataset}, steps, tuple(cells))


def profiles_of(plan: Plan, speeds: Speeds) -> dict[str, EngineProfile]:
    """Profiles of the engines, with the mean lengths of their replies."""
    profiles = {}
    for key in plan.engines:
        size = SPEEDS[speeds][SIZES[key]]
        tokens = {
            step.id: float(TOKENS[step.id.rpartition("/")[2]][0]) for step in plan.steps.values() if step.engine == key
        }
        need = Need((Resources(1, size.gpus),))
        profiles[key] = EngineProfile(key, need, size.load_s, size.tokens_per_s, size.capacity, None, tokens)
    return profiles


def draw_case(
    num_gpus: int, num_samples: int, slice_rows: int | None, speeds: Speeds, failing: float, seed: int
) -> Case:
    """The sweep with all of it to do, on nodes of 8 GPUs; the priors are right on average."""
    plan = paper_plan(num_samples, speeds)
    expect = ClusterExpectation(nodes=num_gpus // GPUS_PER_NODE, gpus_per_node=GPUS_PER_NODE)
    rows = choose_slice_rows(plan, slice_rows or "auto", ClusterConfig(name="simulated", expect=expect))
    work = {step: StepWork(num_samples, 0, 0, tuple(cut(step, num_samples, rows[step]))) for step in plan.steps}
    nodes = tuple(uniform_nodes(num_gpus // GPUS_PER_NODE, Node("", "", Resources(64, GPUS_PER_NODE), 80.0)))
    return Case.draw(plan, work, World(nodes, profiles_of(plan, speeds), failing=failing, seed=seed))


POLICIES: Mapping[str, Callable[[Case], SimulationResult]] = {
    "shipped": lambda case: Simulator(case, case.world.engines).run(),
    "two_phase": lambda case: two_phase(case, case.world.engines),
    "reload_per_cell": reload_per_cell,
}


def compare(num_gpus: int, slice_rows: int | None, speeds: Speeds, failing: float, seeds: int) -> dict[str, Any]:
    """One line of the table: the policies on the same cases, one per seed."""
    cases = [draw_case(num_gpus, NUM_SAMPLES, slice_rows, speeds, failing, seed) for seed in range(seeds)]
    outcomes = {name: [play(case) for case in cases] for name, play in POLICIES.items()}
    shipped = outcomes["shipped"]
    wall_clock_s = statistics.mean(outcome.wall_clock_s for outcome in shipped)
    ratios = [outcome.ratio for outcome in shipped]
    return {
        "gpus": num_gpus,
        "failing": failing,
        "wall_clock_s": wall_clock_s,
        "lower_bound_s": statistics.mean(case.lower_bound_s for case in cases),
        "ratio": statistics.mean(ratios),
        "ratio_max": max(ratios),
        "loads": statistics.mean(outcome.loads for outcome in shipped),
        "deaths": statistics.mean(outcome.deaths for outcome in shipped),
        **{
            f"{name}_to_shipped": statistics.mean(outcome.wall_clock_s for outcome in outcomes[name]) / wall_clock_s
            for name in POLICIES
            if name != "shipped"
        },
        "decision_us_median": statistics.median(us for outcome in shipped for us in outcome.decision_us),
    }


def scale_up(num_gpus: int, num_requests: int, slice_rows: int | None, speeds: Speeds) -> dict[str, Any]:
    """The same sweep over more samples, on a large cluster."""
    started = time.monotonic()
    num_samples = round(num_requests / len(paper_plan(1, speeds).steps))
    case = draw_case(num_gpus, num_samples, slice_rows, speeds, 0.0, 0)
    outcome = POLICIES["shipped"](case)
    return {
        "gpus": num_gpus,
        "requests": outcome.rows,
        "seconds": time.monotonic() - started,
        "wall_clock_s": outcome.wall_clock_s,
        "lower_bound_s": outcome.lower_bound_s,
        "ratio": outcome.ratio,
        "loads": outcome.loads,
        "decisions": len(outcome.decision_us),
        "decision_us_median": outcome.decision_us_median,
        "decision_us_mean": statistics.mean(outcome.decision_us),
    }


def main(
    gpus: str = "8,64,512",
    failing: str = "0,0.05",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    speeds: Speeds = Speeds.ROOFLINE,
    scale: Annotated[bool, typer.Option(help="Simulate 10 million requests on 4,096 GPUs instead.")] = False,
    slice_rows: Annotated[int | None, typer.Option(min=1, help="Rows per slice. Default: auto.")] = None,
) -> None:
    """Runs the benchmark."""
    if scale:
        lines = [scale_up(4096, 10_000_000, slice_rows, speeds)]
    else:
        clusters, shares = map(int, gpus.split(",")), [float(share) for share in failing.split(",")]
        lines = [compare(num_gpus, slice_rows, speeds, share, seeds) for num_gpus in clusters for share in shares]
    ratios = [
        Ratio(f"{line['gpus']} GPUs, {line['failing']:.0%} failing: {name}", round(line[name], 3), _NOISE, None, seeds)
        for line in lines
        for name in line
        if name.endswith("_to_shipped")
    ]
    write_result(
        "simulate_paper_scale" if scale else "simulate_paper", {"speeds": speeds, "seeds": seeds}, lines, ratios
    )


if __name__ == "__main__":
    typer.run(main)
