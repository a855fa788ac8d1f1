"""Targets: what a user writes on the command line and into option files."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fuzzing import check_paragraph, join, refusals, split, target, to_text

from eibench_ray.cli.hydra_entry import call_hydra
from eibench_ray.cli.sweep_commands import show_plan
from eibench_ray.config.load import to_config
from eibench_ray.config.slurm import to_seconds
from eibench_ray.driver.walltime import END_VARIABLE, seconds_left
from eibench_ray.errors import EibenchError, UserError
from eibench_ray.estimate import plan_json, time_estimate  # noqa: F401 - imported here, so that the fuzzer sees what they do
from eibench_ray.storage.location import read_location

ECHO = {"name": "echo", "engine": {"kind": "echo"}, "sees_image": True}
CALLS = [{"name": "answer", "role": "subject", "image": True, "prompt": "Hm? {{ question }}"}]
LIMITS = {"requests_per_minute": 10, "tokens_per_minute": 1000}
ENDPOINT = {"kind": "openai", "model": "m", "base_url": "https://a.example/v1", "api_key_env": "KEY"}
RAW: dict[str, Any] = {
    "sweep": "test",
    "model": {
        "name": "mine",
        "engine": {"kind": "vllm", "source": "me/mine", "max_model_len": 512},
        "sees_image": True,
    },
    "captioner": {"name": "far", "engine": ENDPOINT, "sees_image": True},
    "setting": {"name": "plain", "calls": CALLS},
    "dataset": {"name": "demo", "path": "package:demo"},
    "judge": {"name": "judge", "kind": "strict", "model": ECHO, "system": "Count.", "prompt": "{{ answer }}"},
    "cluster": {"name": "local", "walltime": "1-02:00:00"},
    "tracking": {},
    "store": {"root": "store"},
}


def _changes() -> list[bytes]:
    changes: dict[str, Any] = {
        "store.root": "s3://bucket/prefix?region=x",
        "cluster.walltime": "30:00",
        "setting.calls": [*CALLS, {"name": "more", "role": "asker", "image": False, "each": ["a", "b"], "prompt": "?"}],
        "model.engine": {"kind": "transformers", "source": "a/b"},
        "captioner.engine.base_url": "http://user:secret@host/v1",
        "judge.sampling": {"temperature": 0.5, "stop": ["x"]},
        "modle": 1,
        "seed": 2**31,
    }
    return [join(key, json.dumps(value)) for key, value in changes.items()]


@target(_changes)
def config(data: bytes, folder: Path) -> None:
    """A composed configuration with one value changed: a dotted key, and JSON."""
    del folder
    key, value = split(data, 2)
    try:
        changed = _with(to_text(key), json.loads(value))
    except (ValueError, RecursionError):
        return
    with refusals():
        to_config(changed)


def _with(key: str, value: object) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    *sections, leaf = key.split(".")
    node = raw
    for section in sections:
        node = node.setdefault(section, {}) if isinstance(node, dict) else {}
    if isinstance(node, dict):
        node[leaf] = value
    return raw


def _locations() -> list[bytes]:
    roots = ("store", "/a/b", "file:///a/b%20c", "s3://bucket/a?region=b", "gs://b/", "s3://key:secret@b/c", "x://y")
    return [root.encode() for root in roots]


@target(_locations)
def location(data: bytes, folder: Path) -> None:
    """Roots of stores: one with a login in it is refused without a word of it."""
    del folder
    root = to_text(data)
    try:
        found = read_location(root)
    except ValueError as error:
        check_paragraph(error)
        login = re.match(r"[a-z0-9]+://([^/@]{9,})@", root)
        if login is not None and login[1] in str(error):
            raise AssertionError("the login is repeated") from error
        return
    assert found.path
    assert "://" not in root or "@" not in root


def _times() -> list[bytes]:
    return [b"04:00:00", b"1-12:00:00", b"30:00", b"3600", b"1e3", b"1-00"]


@target(_times)
def walltime(data: bytes, folder: Path) -> None:
    """A walltime of the user's, and the end of a job that SLURM names."""
    del folder
    text = to_text(data)
    with contextlib.suppress(ValueError):
        assert isinstance(to_seconds(text), float)
    with refusals():
        assert isinstance(seconds_left(None, 0.0, {END_VARIABLE: text}), float)


CELL = ("model=echo", "judge=echo", "dataset=demo", "tracking=none")
# Hydra's own node can name any class of Python's to be called: that is the user's right, and not for a fuzzer to use.
# A sweep over millions, or in a bucket, is not either.
_BARRED = re.compile(r"hydra|_target_|\A-(?!m\Z)|\d{4}|range|\w+://|\0", re.IGNORECASE)


def _commands() -> list[bytes]:
    lines = (
        "-m\nsetting=user_question,user_question_cot\nsetting.sampling.max_tokens=16",
        "dataset.limit=3\nseed=1",
        "judge=[echo,tiny_llama]",
        "setting=cfsa\nmodel@asker=echo",
        "+judge.repeats=2\n~tracking",
        "model.engine.dtype='a b'\nsweep=\"x\"",
        "setting.calls=[{name:answer,role:subject,image:true,prompt:'{{question}}'}]",
        "sweep=${oc.env:HOME}\nstore.root=${dataset.name}",
        "model=llava_next_7b\ncluster=slurm",
        "sweep=choice(a,b)\nscore.confidence=0.9",
        "judge.prompt='{% for x in y %}'",
    )
    return [line.encode() for line in lines]


@target(_commands)
def command(data: bytes, folder: Path) -> None:
    """Arguments of `plan`, one a line, after those that choose a cell: a plan, or a paragraph with exit code 2."""
    arguments = to_text(data).splitlines()[:4]
    if not any(_BARRED.search(argument) for argument in arguments):
        _plan([*CELL, *arguments], folder)


def _option_files() -> list[bytes]:
    texts = (
        "name: mine\nengine:\n  kind: echo\nsees_image: true\n",
        "defaults:\n  - echo\n  - _self_\nname: ${..sweep}\nfamily: llama # kin\n",
        "# @package _global_\nmodel: {name: x, engine: {kind: echo, fails_on: 'a'}, sees_image: false}\nsweep: b\n",
        "defaults: [_vllm]\nname: !!str a\nengine: {source: a/b, when: 2026-13-45, much: !!bool x}\n",
        "name: [\n",
        "a: &a [1]\nb: *a\na: 2\n",
        "[1, 2]",
        "a: !!bool x\n",
        "a: !!int x\n",
        "a: !!timestamp x\n",
        "a: 2026-13-45\n",
        "defaults: {a: b}\n",
        "defaults: [{}, 1, null]\n",
        "defaults:\n  - override echo: [1]\n  - optional a@b: c\n",
        "# @package a..b c\nname: x\n",
        "? [a, b]\n: 1\n1.5: 2\nnull: 3\n",
        "- &a [*a]\n",
        "<<: [1]\n",
        "[" * 300,
    )
    return [*(text.encode() for text in texts), b"name: \xff", b"name: \x07"]


@target(_option_files)
def option_file(data: bytes, folder: Path) -> None:
    """An option file of the user's, chosen as the model: a plan, or a paragraph with exit code 2."""
    file = folder / "options" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    if not re.search(rb"hydra|_target_|\w+://", data, re.IGNORECASE):
        _plan(["--config-dir", str(file.parents[1]), *CELL[1:], "model=mine"], folder)


def _plan(arguments: list[str], folder: Path) -> None:
    """Plans, and prints nothing."""
    with _inside(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            call_hydra(partial(show_plan, True, {}, False), arguments, leaves_traces=False)
        except EibenchError as error:
            check_paragraph(error)
            if not isinstance(error, UserError):
                raise
            return
    assert "cells" in json.loads(printed.getvalue().splitlines()[-1])


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
