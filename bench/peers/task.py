"""Shared by all peers: the task file, prompts as messages, rows and scores on disk. Imports no eibench_ray."""

from __future__ import annotations

import json
import statistics
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

_JINJA = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)


class Task:
    """A sweep to be asked, and the folder where its rows go."""

    def __init__(self, path: Path, out: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self.engines: dict[str, dict[str, Any]] = content["engines"]
        self.steps: dict[str, dict[str, Any]] = content["steps"]
        self.samples: list[dict[str, Any]] = content["samples"]
        self.out = out
        out.mkdir(parents=True, exist_ok=True)

    def prompts(self, step_id: str) -> list[tuple[str, str | None]]:
        """The text and the picture's path of each row; a verdict reads the answers from disk."""
        step = self.steps[step_id]
        answers = {row["id"]: row["text"] for row in self.read(step["answer"])} if step["answer"] else {}
        return [self.prompt(step_id, sample, answers.get(sample["id"])) for sample in self.samples]

    def prompt(self, step_id: str, sample: dict[str, Any], answer: str | None) -> tuple[str, str | None]:
        """The text and the picture's path of one row."""
        step = self.steps[step_id]
        text = _template(step["prompt"]).render(sample["words"] | ({} if answer is None else {"answer": answer}))
        return text, sample.get("picture") if step["sees_picture"] else None

    def read(self, step_id: str) -> list[dict[str, Any]]:
        """The rows of a step that is done."""
        lines = (self.out / f"{step_id}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def write(self, step_id: str, said: list[tuple[str, int, int]]) -> None:
        """Writes the rows of a step: reply, tokens of the prompt, tokens of the reply; in the samples' order."""
        rows = [
            {"id": sample["id"], "text": text, "prompt_tokens": prompt, "completion_tokens": completion}
            for sample, (text, prompt, completion) in zip(self.samples, said, strict=True)
        ]
        self.write_rows(step_id, rows)

    def write_rows(self, step_id: str, rows: list[dict[str, Any]]) -> None:
        """Writes rows of a step, and of a verdict its cell's score."""
        (self.out / f"{step_id}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if self.steps[step_id]["answer"]:
            score = statistics.mean(row["text"].strip().lower().startswith("yes") for row in rows)
            with (self.out / "leaderboard.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": self.steps[step_id]["cell"], "says_yes": score}) + "\n")


@lru_cache
def _template(text: str) -> Template:
    return _JINJA.from_string(text)
