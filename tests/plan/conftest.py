"""Small configurations and datasets to plan over, and the plan of some of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from eibench_ray.config.load import to_config
from eibench_ray.config.schema import RunConfig
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt, SourceSampling
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.planner.dataset_facts import read_dataset_facts
from eibench_ray.planner.plan_builder import build_plan
from eibench_ray.rows.request import AcceptRule
from eibench_ray.rows.sample import Media, Sample

LOOK = {
    "name": "answer",
    "role": "subject",
    "image": True,
    "protocol": "user_question",
    "prompt": "See. {{ question }}",
}
TOLD = LOOK | {"protocol": "user_question_caption", "prompt": "{{ caption }} {{ question }}"}
CAPTION = {"name": "caption", "role": "captioner", "image": True, "column": "caption", "prompt": "Describe it."}

SETTINGS: Mapping[str, list[dict[str, Any]]] = {"look": [LOOK], "told": [CAPTION, TOLD]}

# A protocol in the words of this test, braces that are meant literally included.
PROTOCOL = PromptSet(
    subject={"user_question": SourcePrompt("You see.", "Q: {question}", SourceSampling(0.2, 0.9, 77))},
    judge={
        "llama3_basic": SourcePrompt(
            "You weigh.",
            "{record} against {reference}, as {{score: 1/2}}",
            SourceSampling(0.3, 0.8, 99),
            AcceptRule("{score: ", True, 3, "{score: 0/1}"),
        ),
        "llama3_complex": SourcePrompt("You weigh twice.", "{record} or {reference}"),
        "gpt_basic": SourcePrompt(None, "{record}, {reference}?"),
    },
)


@dataclass(frozen=True, slots=True)
class Planner:
    """Writes datasets into a folder, and plans cells over them."""

    folder: Path

    def write_dataset(self, name: str = "faces", *, protocol: PromptSet | None = None, captions: bool = True) -> None:
        """A dataset of three samples."""
        with DatasetWriter(self.folder / name, "faces for a test", protocol) as writer:
            for number in range(3):
                inputs = {"question": "why?"} | ({"caption": f"caption {number}"} if captions else {})
                known = {"emotion": "happy", "reference": "1. Sun."}
                sample = Sample(f"s{number}", inputs, (Media(f"{number}.png"),), ("Sun.",), known)
                writer.add(sample, [b"picture %d" % number])

    def config(self, changes: Mapping[str, Any] = {}, *, setting: str = "look", dataset: str = "faces") -> RunConfig:
        """One cell, with changes by dotted key."""
        engine = {"kind": "vllm", "source": "me/eye", "max_model_len": 512}
        judge_engine = {"kind": "vllm", "source": "me/judge", "max_model_len": 512}
        raw: dict[str, Any] = {
            "sweep": "test",
            "model": {"name": "eye", "engine": engine, "sees_image": True},
            "setting": {"name": setting, "calls": copy.deepcopy(SETTINGS[setting])},
            "dataset": {"name": dataset, "path": str(self.folder / dataset)},
            "judge": {
                "name": "judge",
                "kind": "strict",
                "model": {"name": "judge_model", "engine": judge_engine, "sees_image": False},
                "system": "Count.",
                "prompt": "{{ answer }} of {{ targets }}",
            },
            "cluster": {"name": "local"},
            "tracking": {},
            "store": {"root": "store"},
        }
        for key, value in changes.items():
            *sections, leaf = key.split(".")
            node = raw
            for section in sections:
                node = node.setdefault(section, {})
            node[leaf] = value
        return to_config(raw)

    def plan(self, *configs: RunConfig, device: Literal["cpu", "cuda"] = "cpu") -> Plan:
        """The plan of the cells."""
        facts = {config.dataset.name: read_dataset_facts(config.dataset, must_exist=True) for config in configs}
        return build_plan(configs, facts, device)

    def step(self, plan: Plan, name: str) -> Step:
        """The one step of that name."""
        [step] = [step for step in plan.steps.values() if step.name == name]
        return step


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    """A planner whose dataset has captions and no protocol."""
    planner = Planner(tmp_path)
    planner.write_dataset()
    return planner


@pytest.fixture
def official(tmp_path: Path) -> Planner:
    """A planner whose dataset carries a protocol."""
    planner = Planner(tmp_path)
    planner.write_dataset(protocol=PROTOCOL)
    return planner


@pytest.fixture
def echo() -> dict[str, Any]:
    """A model that is another one than the default."""
    return {"name": "echo", "engine": {"kind": "echo"}, "sees_image": True}
