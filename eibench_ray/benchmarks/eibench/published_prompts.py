"""The official protocol as it stands in the scripts of a clone of EIBench."""

from __future__ import annotations

from pathlib import Path

from eibench_ray.benchmarks.eibench.published_scripts import (
    ScriptError,
    parse_script,
    read_judge,
    read_questions,
    read_sampling,
)
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt

JUDGE_SCRIPTS = {
    "llama3_basic": "llama3-eval.py",
    "llama3_complex": "llama3-eval-complex.py",
    "gpt_basic": "gpt-eval.py",
    "gpt_complex": "gpt-eval-complex.py",
}
SUBJECT_PROMPT_SOURCES = {
    "user_question": False,
    "user_question_cot": True,
}  # value: whether it asks to think step by step
OWN_PROMPTS = "the built-in prompts are used"


def read_official(source: Path) -> tuple[PromptSet | None, tuple[str, ...]]:
    """The protocol (None where no script was understood), and a note for each part that was not found.

    Args:
        source: a clone, or any folder above one: the scripts are found by name.
    """
    notes: list[str] = []
    subject = _read_subjects(source, notes)
    judge = _read_judges(source, notes)
    return (PromptSet(subject, judge) if subject or judge else None), tuple(notes)


def _read_judges(source: Path, notes: list[str]) -> dict[str, SourcePrompt]:
    found: dict[str, SourcePrompt] = {}
    for name, script in JUDGE_SCRIPTS.items():
        files = sorted(source.rglob(script), key=lambda file: (len(file.parts), file))
        if not files:
            notes.append(f"{script} is not below {source}: {OWN_PROMPTS} for the judge {name}")
            continue
        try:
            found[name] = read_judge(parse_script(files[0]))
        except (ScriptError, RecursionError) as error:  # a text that is the sum of a thousand
            notes.append(f"{files[0]}: {error}: {OWN_PROMPTS} for the judge {name}")
    return found


def _read_subjects(source: Path, notes: list[str]) -> dict[str, SourcePrompt]:
    found: dict[str, SourcePrompt] = {}
    files = {file for folder in source.rglob("baselines") for file in folder.rglob("*.py")}
    # The published sampling is the LLaVA baseline's, so its scripts come first; the others' texts differ a little.
    for file in sorted(files, key=lambda file: ("LLaVA" not in file.parts, file)):
        try:
            tree = parse_script(file)
            texts = read_questions(tree)
        except (ScriptError, RecursionError) as error:
            notes.append(f"{file}: {error}")
            continue
        for text in texts:
            for name, is_stepwise in SUBJECT_PROMPT_SOURCES.items():
                if name not in found and ("step by step" in text.lower()) is is_stepwise:
                    found[name] = SourcePrompt(None, text, read_sampling(tree))
    missing = [name for name in SUBJECT_PROMPT_SOURCES if name not in found]
    notes += [f"no script in baselines/ below {source} asks as {name}: {OWN_PROMPTS}" for name in missing]
    return found
