"""A user's mistakes: one paragraph on stderr that names the full key and what to do, exit code 2, no traceback."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Called

CELL = "model=echo judge=echo dataset=demo tracking=none"

# What is tried, the command line, and a part of what is said.
MISTAKES = [
    (
        "unknown option",
        "plan CELL model=lava_next_7b",
        "model=lava_next_7b: there is no such option; did you mean 'llava_next_7b'?",
    ),
    (
        "unknown option behind a judge",
        "plan CELL model@judge.model=ecko",
        "there is no such option; did you mean 'echo'?",
    ),
    (
        "unknown experiment",
        "plan experiment=x",
        "experiment=x: there is no such option (there are demo, demo_vlm, paper_table)",
    ),
    ("unknown option in a sweep", "plan -m CELL setting=user_question,cot", "setting=cot: there is no such option"),
    ("unknown section", "plan CELL modle=x", "modle: there is no such key; did you mean 'model'?"),
    (
        "unknown key",
        "plan CELL setting.sampling.max_token=3",
        "setting.sampling.max_token: there is no such key; did you mean 'setting.sampling.max_tokens'?",
    ),
    (
        "unknown key in a sweep",
        "plan -m CELL setting.prompt_sourc=own,auto",
        "setting.prompt_sourc: there is no such key; did you mean 'setting.prompt_source'?",
    ),
    (
        "unknown key, added",
        "plan CELL +setting.max_tokens=3",
        "setting.max_tokens: there is no such key; did you mean 'setting.sampling.max_tokens'?",
    ),
    (
        "wrong type",
        "plan CELL setting.sampling.max_tokens=many",
        "setting.sampling.max_tokens is 'many': input should be a valid integer",
    ),
    ("wrong type in a sweep", "plan -m CELL seed=1,x", "seed is 'x': input should be a valid integer"),
    (
        "out of range",
        "plan CELL store.slice_rows=0",
        "store.slice_rows is 0: should be a whole number of rows above 0, or 'auto'",
    ),
    ("missing value", "plan CELL dataset=prepared", "dataset.name is missing: set it with dataset.name=VALUE"),
    (
        "missing value in a sweep",
        "plan -m CELL model=echo,replay",
        "model.name is missing: set it with model.name=VALUE",
    ),
    ("missing group", "plan judge=echo dataset=demo", "model is missing: choose one with model=OPTION (there are "),
    (
        "missing model of a judge",
        "plan CELL judge=strict",
        "model@judge.model is missing: choose one with model@judge.model=OPTION",
    ),
    (
        "prompt without bounds",
        "plan CELL 'judge.prompt=\"{{ answer | center(10**9) }}\"'",
        "of setting 'user_question' or judge 'echo' cannot be rendered: it makes too wide a text",
    ),
    ("malformed override", "plan CELL 'model=[a'", "'model=[a' is not an override: write key=value"),
    ("no override", "plan CELL fast", "'fast' is not an override: write key=value"),
    ("no option", "plan CELL model=null", "must be a string"),
    ("several values without -m", "plan CELL seed=1,2", "seed=1,2 has several values: add -m to sweep over them"),
    ("unknown command-line option", "plan CELL --fast", "--fast: there is no such option"),
    ("unknown command-line option of run", "run --fast CELL", "--fast: there is no such option"),
    ("command-line option without its value", "plan CELL --config-dir", "--config-dir/-cd: expected one argument"),
    ("wrong value of a command-line option", "plan CELL --cfg jobs", "--cfg/-c: invalid choice: 'jobs'"),
    ("print and sweep", "plan CELL -m --cfg job", "leave out -m"),
    ("no folder of options", "plan CELL --config-dir mine", "mine' not found"),
    (
        "interpolation that leads nowhere",
        "plan CELL 'setting.name=${nobody}'",
        "setting.name reads a value from elsewhere: Interpolation key 'nobody' not found",
    ),
    (
        "unprepared dataset",
        "run CELL dataset=eibench_basic",
        "the dataset data/eibench_basic cannot be opened: there is no prepared dataset there",
    ),
    (
        "unprepared dataset in a sweep",
        "run -m CELL dataset=demo,eibench_complex",
        "prepare it with `eibench-ray prepare eibench --source EIBENCH_CLONE --images PICTURES --out data`",
    ),
    (
        "unprepared dataset of unknown size",
        "plan CELL dataset=prepared dataset.name=mine dataset.path=data/mine",
        "prepare it, e.g. with `eibench-ray prepare jsonl",
    ),
    (
        "two cells of one name",
        "plan -m CELL setting.sampling.max_tokens=3,4",
        "two cells are both called echo/user_question/demo/echo but ask for different things",
    ),
    (
        "an unknown judge among several",
        "plan model=echo dataset=demo tracking=none judge=[echo,tiny_lama]",
        "judge=tiny_lama: there is no such option; did you mean 'tiny_llama'?",
    ),
    (
        "no judge among none",
        "plan model=echo dataset=demo judge=[]",
        "judge=[]: write the names of one or more options",
    ),
    ("a printed list", "plan model=echo dataset=demo judge=[echo,strict] --cfg job", "leave out -m, and lists"),
    (
        "an option of another scorer",
        "plan CELL judge=official model@judge.model=echo +judge.verdict=triggers",
        "judge.verdict: there is no such key",
    ),
    ("varied cluster", "plan -m CELL cluster.num_cpus=1,2", "cluster differs between the cells of one sweep"),
    ("varied tracking", "plan -m CELL tracking=none,wandb", "tracking differs between the cells of one sweep"),
    (
        "secret",
        "plan CELL model=tiny_llama +model.engine.env.HF_TOKEN=hunter2",
        "model.engine.env.HF_TOKEN: HF_TOKEN looks like the name of a secret",
    ),
    (
        "no recorded predictions",
        "run CELL model=otter",
        "nothing of this sweep can run. 1 cell blocked: no recorded predictions: predictions/otter/demo.user_question",
    ),
    (
        "no weights",
        "run CELL model=tiny_llama model.engine.source=/not/there",
        "1 cell blocked: no weights: /not/there (tiny_llama): put the checkpoint there",
    ),
    (
        "no weights to serve",
        "serve model=tiny_llama model.engine.source=/not/there",
        "tiny_llama: no weights: /not/there: put the",
    ),
    (
        "a retired judge",
        "run CELL judge=chatgpt_3_5",
        "1 cell blocked: retired: openai has no gpt-3.5-turbo-0125 since 2026-10-23 (gpt_3_5_turbo): replay its",
    ),
    ("no folder of models", "models --config-dir mine", "--config-dir mine is no folder"),
    (
        "no official prompt",
        "plan CELL setting.prompt_source=official",
        "asks for the official prompt of 'user_question'",
    ),
    (
        "no such file of a template",
        "plan CELL model=tiny_llama model.engine.chat_template=mine.jinja",
        "mine.jinja cannot be read",
    ),
    (
        "unknown model to serve",
        "serve model=tiny_lama",
        "model=tiny_lama: there is no such option; did you mean 'tiny_llama'?",
    ),
    ("no model to serve", "serve", "model is missing: choose one with model=OPTION (there are "),
    ("echo to serve", "serve model=echo", "model 'echo' has an engine of kind 'echo', which has no server of its own"),
    (
        "recordings to serve",
        "serve model=claude_3_haiku",
        "'claude_3_haiku' has an engine of kind 'replay', which has no server of its own",
    ),
    ("a sweep's group to serve", "serve model=tiny_llama setting=user_question", "setting: there is no such key"),
    (
        "unknown key to serve",
        "serve model=tiny_llama model.engine.dtyp=auto",
        "model.engine.dtyp: there is no such key; did you mean 'model.engine.dtype'?",
    ),
    ("unknown key to serve, added", "serve model=tiny_llama +port=3", "port: there is no such key"),
    ("several models to serve", "serve -m model=tiny_llama,smollm2_135m", "starts one server: leave out -m"),
    (
        "no such key's variable",
        "serve model=tiny_llama --port 0 --api-key-env NO_KEY",
        "--api-key-env NO_KEY is not set",
    ),
    ("a foreign address", "serve model=tiny_llama --host 192.0.2.1", "--host 192.0.2.1 --port 8000 cannot be used"),
    ("no run", "status nowhere", "'nowhere' is neither the folder of a run nor the beginning of a run's id"),
    ("no run yet", "report", "there is no run below ./multirun or ./outputs"),
    ("no file to rescore", "rescore nothing.jsonl", "nothing.jsonl: the judgements cannot be read"),
    ("no run to export", "export .", ". is no run"),
]


def split(line: str) -> list[str]:
    return shlex.split(line.replace("CELL", CELL))


def check_one_paragraph(err: str) -> None:
    assert err.startswith("eibench-ray: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "hunter2" not in err


@pytest.mark.parametrize(("line", "message"), [pytest.param(*told, id=name) for name, *told in MISTAKES])
def test_a_mistake_is_told_in_one_paragraph(command: Callable[..., Called], line: str, message: str) -> None:
    called = command(*split(line))
    assert message in called.err
    check_one_paragraph(called.err)
    assert called.code == 2
    assert called.out == ""


@pytest.mark.parametrize("mistake", ["wrong type", "wrong type in a sweep"])  # told by Hydra's task, and by its sweeper
def test_a_mistake_looks_the_same_in_a_process_of_its_own(tmp_path: Path, mistake: str) -> None:
    [(line, message)] = [told for name, *told in MISTAKES if name == mistake]
    done = subprocess.run(
        [sys.executable, "-m", "eibench_ray.cli.app", *split(line)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    check_one_paragraph(done.stderr)


@pytest.mark.parametrize("command_line", [["status", "--fast"], ["fly"]])
def test_an_unknown_word_of_the_command_itself_is_refused(
    command: Callable[..., Called], command_line: list[str]
) -> None:
    called = command(*command_line)
    assert called.code == 2
    assert "No such" in called.err
    assert "Traceback" not in called.err


def test_a_developer_gets_the_traceback(command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIBENCH_TRACEBACK", "1")
    with pytest.raises(ConfigError, match="no such option"):
        command("plan", "judge=echo", "dataset=demo", "model=nobody")


def test_what_cannot_be_printed_onto_a_full_disk_is_told_in_one_paragraph(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eibench_ray.cli.app", "models"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    told = "eibench-ray: what the command prints cannot be written (No space left on device): free some space"
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
