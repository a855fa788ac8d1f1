"""Names of steps for people: what is asked of whom, in which setting, under which judge. Pure.

    answer by llava_next_7b (user_question)
    verdict by strict on llava_next_7b (user_question)
    answer 3 by llava_next_7b (user_question)      a repeat of the setting
    verdict by strict on answer 3 of llava_next_7b (user_question)
    verdict by pairwise on llava_next_7b, then qwen3_vl_8b (user_question)      in this order
    caption by qwen2_5_vl_7b (user_question_caption, my_dataset)     where the plan has several datasets

A digest stands only where two steps would have the same name, and there last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eibench_ray.plan.graph import COMPARED, Cell, Plan, Source, Step

_MOST_NAMES = 2  # more are counted: "3 settings"
_ID_LENGTH = 8

# Beside the name of what did not answer itself.
MADE_UP, RECORDED = "(made up)", "(recorded)"
_MARKS: Mapping[Source, str] = {"model": "", "made_up": MADE_UP, "recorded": RECORDED, "rule": ""}


@dataclass(frozen=True, slots=True)
class StepName:
    """One step in words."""

    title: str  # all of it in one line, different for each step of a plan
    what: str  # the call's name, `answer 2` for a setting's repeat, `verdict`, `verdict 2` for a judge's repeat
    asked: str  # whoever is asked: the judge by its own name, else the engine's model
    model: str  # the engine's model
    subject: str  # the models whose answers it reads, for a verdict; else empty
    setting: str  # the settings that use it
    judge: str  # the judges of a verdict; else empty
    dataset: str  # the dataset

    def __str__(self) -> str:
        return self.title


def mark_of(source: Source) -> str:
    """The mark beside a name whose words are not its own; empty where they are."""
    return _MARKS[source]


def with_mark(name: str, source: Source) -> str:
    """A name, and beside it whose words they are, where that is another."""
    return f"{name} {mark_of(source)}".rstrip()


def name_steps(plan: Plan) -> dict[str, StepName]:
    """The names of all steps of a plan, by step id."""
    users: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        for step_id in cell.steps:
            users.setdefault(step_id, []).append(cell)
    shows_dataset = len({step.dataset for step in plan.steps.values()}) > 1
    names = {
        step.id: _name(plan, step, users.get(step.id, ()), shows_dataset=shows_dataset) for step in plan.steps.values()
    }
    times = Counter(name.title for name in names.values())
    return {
        step_id: replace(name, title=f"{name.title} {step_id[:_ID_LENGTH]}") if times[name.title] > 1 else name
        for step_id, name in names.items()
    }


def _name(plan: Plan, step: Step, cells: Iterable[Cell], *, shows_dataset: bool) -> StepName:
    used = list(cells)
    judged = [cell for cell in used if step.id in cell.verdicts]
    seats = [cell.seats[cell.verdicts.index(step.id) % cell.judge_repeats] for cell in judged]
    judge = _join((name for name, _ in seats), "judges")
    subject = _join((cell.model for cell in judged), "models")
    if judged and (baseline := judged[0].baseline):
        models = dict.fromkeys(baseline.answers, baseline.model) | dict.fromkeys(judged[0].answers, judged[0].model)
        subject = ", then ".join(models[step.inputs[word]] for word in COMPARED)
    parts = [_part(plan, step, cell) for cell in used]
    setting = _join((setting for setting, _ in parts), "settings")
    if judged:
        answer, repeat = judged[0].verdicts.index(step.id) // judged[0].judge_repeats, seats[0][1]
        subject = f"answer {answer + 1} of {subject}" if answer else subject
    else:  # a call that is made again has the same name
        repeat = [one for one in parts[0][1] if plan.steps[one].name == step.name].index(step.id) if parts else 0
    what = f"{step.name} {repeat + 1}" if repeat else step.name
    engine, model = plan.engines[step.engine], plan.model_of(step)
    name = judge or model
    asked = name if name == engine.kind else with_mark(name, engine.traits.words)  # a kind's own name says it
    where = ", ".join(filter(None, (setting, step.dataset if shows_dataset else "")))
    title = f"{what} by {asked}{f' on {subject}' if subject else ''}{f' ({where})' if where else ''}"
    return StepName(title, what, asked, model, subject, setting, judge, step.dataset)


def _part(plan: Plan, step: Step, cell: Cell) -> tuple[str, Sequence[str]]:
    """The setting in which a cell needs a step, and the ids of the steps that it needs in it."""
    if cell.baseline is None:
        return cell.setting, cell.steps
    others = plan.steps_behind(cell.baseline.answers) - plan.steps_behind(cell.answers)
    is_other = step.id in others
    setting = cell.baseline.setting if is_other else cell.setting
    return setting, [one for one in cell.steps if (one in others) == is_other]


def _join(names: Iterable[str], plural: str) -> str:
    """A few names side by side; of more, how many there are."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique) if len(unique) <= _MOST_NAMES else f"{len(unique)} {plural}"


def titles(plan: Plan) -> Mapping[str, str]:
    """The one-line names of all steps of a plan, by step id."""
    return {step_id: name.title for step_id, name in name_steps(plan).items()}
