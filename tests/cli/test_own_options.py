"""A user's option files come before the package's, hold no secrets and start no programs; in every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

CELL = ("model=echo", "judge=echo", "dataset=demo", "tracking=none")
OWN_MODEL = "name: mine\nsees_image: true\nengine: {kind: echo}\n"
OWN_JUDGE = "defaults: [strict, {override /model@model: llava_next_7b}, _self_]\nname: my_judge\n"
OWN_EXPERIMENT = (
    "# @package _global_\n"
    "defaults: [{override /model: llava_next_7b}, {override /judge: echo}, {override /dataset: demo},\n"
    "  {override /tracking: none}]\nsweep: my_sweep\n"
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name, text in {
        "model/llava_next_7b": OWN_MODEL,
        "judge/echo": OWN_JUDGE,
        "experiment/demo": OWN_EXPERIMENT,
        "setting/user_question": "defaults: [user_question_cot, _self_]\nname: my_setting\n",
    }.items():
        path = tmp_path / "own" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "own"


@pytest.mark.parametrize("way", ["--config-dir", "searchpath"])
def test_a_users_file_wins_in_every_group_with_a_line_that_says_so(command: Command, own: Path, way: str) -> None:
    where = ("--config-dir", own) if way == "--config-dir" else (f"hydra.searchpath=[file://{own}]",)
    called = command("plan", *where, "experiment=demo", "model@captioner=llava_next_7b", "--json")
    plan = called.json
    assert plan["sweep"] == "my_sweep"
    [cell] = plan["cells"]
    assert (cell["model"], cell["setting"], cell["judge"]) == ("mine", "my_setting", "my_judge")
    assert {engine["name"] for engine in plan["engines"]} == {"mine"}
    said = [line for line in called.err.splitlines() if "in the place of the package's" in line]
    assert len(said) == 1
    for name in ("model/llava_next_7b", "judge/echo", "experiment/demo", "setting/user_question"):
        assert name in said[0]


def test_a_scorer_of_the_folder_takes_no_other_ones_name(command: Command, own: Path) -> None:
    file = own / "scorers" / "strict.py"
    file.parent.mkdir()
    file.write_text("raise AssertionError('it is not asked for')")
    called = command("plan", "--config-dir", own, *CELL)
    assert called.code == 2
    assert f"{file}: there is another scorer 'strict'" in called.err
    file.rename(file.with_name("mine.py"))
    assert command("plan", "--config-dir", own, *CELL).code == 0


def test_a_folder_that_is_not_there_is_told(command: Command) -> None:
    called = command("plan", *CELL, "hydra.searchpath=[file:///nothere]")
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "/nothere (hydra.searchpath in command-line) is no folder of option files" in called.err


def test_a_folder_may_have_any_name(command: Command, own: Path, tmp_path: Path) -> None:
    odd = own.rename(tmp_path / "a,b=(c) 'd' \"e\"")
    (odd / "model" / "mine_too.yaml").write_text(
        "defaults: [tiny_llama, _self_]\nname: mine_too\navailability: {status: gated}\n"
    )
    listed = {model["name"]: model for model in command("models", "--config-dir", odd, "--json").json}
    assert listed["mine"]["engine"]["kind"] == "echo"
    assert (listed["mine_too"]["availability"]["status"], listed["mine_too"]["engine"]["kind"]) == ("gated", "vllm")
    assert command("plan", "--config-dir", odd, "experiment=demo", "--json").json["sweep"] == "my_sweep"


def test_a_sweep_of_many_jobs_takes_them_too(command: Command, own: Path) -> None:
    models = "model=llava_next_7b,echo,tiny_llama,tiny_llava,tiny_qwen2_vl"
    called = command(
        *("plan", "-m", "--config-dir", own, models, "judge=echo", "dataset=demo"),
        *("setting=user_question,user_question_cot", "tracking=none", "--json"),
    )
    assert {cell["model"] for cell in called.json["cells"]} >= {"mine", "echo"}
    assert "llava_next_7b" not in {cell["model"] for cell in called.json["cells"]}


def test_a_users_main_file_wins(command: Command, own: Path) -> None:
    from eibench_ray.config.options_folder import config_folder

    text = (config_folder() / "config.yaml").read_text().replace("sweep: sweep ", "sweep: own_main ")
    (own / "config.yaml").write_text(text)
    called = command("plan", "--config-dir", own, "model=echo", "judge=echo", "dataset=demo", "--json")
    assert called.json["sweep"] == "own_main"


def test_the_other_commands_take_them(command: Command, own: Path) -> None:
    served = command("serve", "--config-dir", own, "model=llava_next_7b")
    assert "model 'mine' has an engine of kind 'echo'" in served.err
    simulated = command("simulate", "--config-dir", own, "experiment=demo", "--json")
    assert simulated.json["requests"] == 48
    assert "nothing is needed" in command("prefetch", "--config-dir", own, "experiment=demo").out.lower()
    script = command("submit", "slurm", "--dry-run", "--config-dir", own, "experiment=demo").out
    assert f"--config-dir {own} experiment=demo" in script  # so that the job composes the same


# Those that write; a plan composes as they do.
@pytest.mark.parametrize("command_line", [("run", *CELL), ("run", "-m", *CELL, "seed=1,2")])
@pytest.mark.parametrize(
    "override",
    [
        "+hydra.callbacks.x={_target_: os.system, command: touch ran}",
        "+hydra.callbacks.x._target_=os.system",
        "+hydra.job_logging.handlers.x={class: logging.os.system, command: touch ran}",
        "+hydra.hydra_logging.formatters.x={class: os.system, format: touch ran}",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+model.engine.args.x={_target_: os.system}",
    ],
)
def test_an_option_starts_no_program(command: Command, command_line: tuple[str, ...], override: str) -> None:
    called = command(*command_line, override)
    assert called.code == 2
    assert "an option file may not start programs" in called.err
    assert not list(Path.cwd().rglob("*"))


def test_a_file_starts_no_program(command: Command, tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra: {callbacks: {x: {_target_: os.system, command: touch ran}}}\n"
    )
    called = command("plan", "--config-dir", tmp_path / "own", *CELL, "experiment=evil")
    assert "hydra.callbacks.x._target_ is 'os.system'" in called.err


@pytest.mark.parametrize("part", ["sweeper", "launcher"])
def test_another_sweeper_would_make_folders_of_its_own_and_is_refused(command: Command, part: str) -> None:
    called = command("run", "-m", *CELL, "seed=1,2", f"hydra/{part}=basic")
    assert called.code == 2
    assert f"hydra.{part}._target_ is" in called.err
    assert not list(Path.cwd().iterdir())


def test_an_option_whose_name_ends_otherwise_is_not_left_aside(command: Command, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    file = tmp_path / "own" / "model" / "echo.yml"
    file.write_text("name: mine\n")
    called = command("plan", "--config-dir", tmp_path / "own", *CELL)
    assert called.code == 2
    assert f"{file} would not be read: the name of an option file ends in .yaml" in called.err


SECRETS = [
    "+model.engine.args.hf_token=abcdef",
    "+model.engine.args.api_key=abcdef",
    "+model.engine.args={hf_token: abcdef}",
    "+model.engine.env.HTTPS_PROXY=http://me:word@proxy:3128",
    "+judge.model.engine.args.password=abcdef",
    "+hydra.job.env_set.HF_TOKEN=abcdef",
    "+hydra.job.env_set.HTTPS_PROXY=http://me:word@proxy:3128",
    "hydra.job.env_copy=[PLANTED_TOKEN]",
    "sweep=sk-ant-abcdef0123456789abcdef",
    "model.name=hf_abcdefghijklmnopqrstuvwxyz",
    "model.system='use ghp_abcdefghijklmnopqrstuvwxyz012345 to log in'",
    "store.root='https://me:word@host/x'",
    "dataset.path='s3://bucket/x?X-Amz-Signature=abcdef'",
    "store.root='s3://bucket?part=1&X-Amz-Credential=abcdef'",
    "+judge.model.engine.args.url='http://host/v1?code=abcdef'",
    "+judge.model.engine.args.headers.Authorization='Basic abcdef'",
    "sweep=${oc.env:PLANTED_TOKEN}",
    "store.root=${oc.env:PLANTED_TOKEN}",
    "store.root=${oc.env:PLANTED_SHAPE}",
    "dataset.path='${oc.decode:${oc.env:PLANTED_TOKEN}}'",
    "hydra.run.dir=${oc.env:PLANTED_TOKEN}",
]


# A command that writes a folder meets each of them, and every other way some of each kind: all compose in one place.
WAYS = [
    *((("run",), override) for override in SECRETS),
    *(
        (way, override)
        for way in (("plan",), ("run", "-m", "seed=1,2"), ("submit", "slurm", "--dry-run"))
        for override in SECRETS[::6]
    ),
]


@pytest.mark.parametrize(("way", "override"), WAYS)
def test_a_secret_is_refused_before_anything_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch, override: str, way: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", "abcdef")
    monkeypatch.setenv("PLANTED_SHAPE", "hf_abcdefghijklmnopqrstuvwxyz")
    called = command(*way, *CELL, override)
    assert called.code == 2
    assert "export the secret where" in called.err or "export the key" in called.err or "carries a name" in called.err
    written = [path for path in Path.cwd().rglob("*") if path.is_file()]
    assert not [path for path in written if "abcdef" in path.read_text(errors="replace")]
    for secret in ("abcdef", "word@"):
        assert secret not in called.err + called.out


@pytest.mark.parametrize(
    "key", ["sweep", "model.name", "setting.name", "dataset.name", "judge.name", "model.system", "judge.prompt"]
)
def test_what_is_shown_comes_from_no_environment(command: Command, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("GREETING", "hello")
    called = command("plan", *CELL, f"{key}=${{oc.env:GREETING}}")
    assert called.code == 2
    assert f"{key} reads the environment variable GREETING" in called.err
    assert "hello" not in called.err


def test_a_path_may_come_from_the_environment(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCRATCH_OF_MINE", str(tmp_path / "there"))
    called = command("plan", *CELL, "store.root=${oc.env:SCRATCH_OF_MINE}/st", "--json")
    assert called.json["store"] == f"{tmp_path}/there/st"


def test_what_only_resembles_a_secret_is_let_through(command: Command) -> None:
    arguments = "{max_num_batched_tokens: 8, tokenizer_mode: auto, eos_token: end}"
    called = command(
        *("plan", "model=tiny_llama", "judge=echo", "dataset=demo", "tracking=none", "sweep=task-specific-key-words"),
        *(f"+model.engine.args={arguments}", "+model.engine.env.TOKENIZERS_PARALLELISM='false'"),
        "--json",
    )
    assert called.code == 0, called.err
    assert called.json["sweep"] == "task-specific-key-words"
