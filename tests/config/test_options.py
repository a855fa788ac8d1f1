"""Every option file composes, its keys are the schema's, and what a person must choose is named when it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from eibench_ray.benchmarks.eibench.strict_scorer import strict_schema
from eibench_ray.config.compose import to_composed
from eibench_ray.config.hydra_composer import Composer, composing
from eibench_ray.config.hydra_errors import explain
from eibench_ray.config.load import to_config
from eibench_ray.config.options_folder import config_folder
from eibench_ray.config.schema import RunConfig
from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.config.section import Frozen
from eibench_ray.datasets.prompts_file import load_protocol
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.loaded_section import LoadedSection
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.request_body import build_body
from eibench_ray.engines.replay import ReplaySection
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import ConfigError
from eibench_ray.planner.prompt_source import word_judge
from eibench_ray.rows.request import AcceptRule, Request, Sampling

CONF = config_folder()
PUBLISHED = Path(__file__).parents[3] / "shared" / "eibench" / "protocol.yaml"
OPTIONS = sorted(f"{path.parent.name}/{path.stem}" for path in CONF.glob("*/*.yaml"))
EXPERIMENTS = [option for option in OPTIONS if option.startswith("experiment/")]
CELLS = [option for option in OPTIONS if option not in EXPERIMENTS]
BASE = {"model": "echo", "judge": "echo", "dataset": "demo", "tracking": "none"}

_COMPOSERS: list[Composer] = []

# What a person must choose, and a choice.
CHOICES = {
    "model/_vllm": {
        "model.name": "mine",
        "model.sees_image": "true",
        "model.engine.source": "me/mine",
        "model.engine.max_model_len": "512",
    },
    "model/_transformers": {
        "model.name": "mine",
        "model.sees_image": "true",
        "model.engine.source": "me/mine",
    },
    "model/_openai": {
        "model.name": "mine",
        "model.sees_image": "true",
        "model.engine.endpoint": "mine",
        "model.engine.base_url": "http://127.0.0.1:8000/v1",
        "model.engine.model": "mine",
    },
    "model/endpoint": {
        "model.name": "mine",
        "model.sees_image": "true",
        "model.engine.base_url": "http://127.0.0.1:8000/v1",
        "model.engine.model": "mine",
    },
    "model/replay": {"model.name": "mine", "model.engine.predictions": "recorded"},
    "dataset/prepared": {"dataset.name": "mine", "dataset.path": "data/mine"},
    "judge/official": {"model@judge.model": "echo"},
    "judge/strict": {"model@judge.model": "echo"},
    "judge/strict_v2": {"model@judge.model": "echo"},
    "judge/strict_count": {"model@judge.model": "echo"},
    "judge/correct": {"model@judge.model": "echo"},
    "judge/rubric": {"model@judge.model": "echo"},
    "judge/pairwise": {"model@judge.model": "echo", "model@judge.baseline": "tiny_llama"},
    "judge/jury": {"judge@judge.members.first": "echo", "judge@judge.members.second": "tiny_llama"},
}


@pytest.fixture(autouse=True, scope="module")
def _hydra() -> Iterator[None]:
    with composing(CONF, "config") as composer:
        _COMPOSERS.append(composer)
        yield
    _COMPOSERS.clear()


def load(**chosen: str) -> RunConfig:
    return compose_once(tuple(f"{group}={option}" for group, option in chosen.items()))


@cache  # several tests look at each option; as jobs of a sweep are composed, in a third of the time
def compose_once(overrides: tuple[str, ...]) -> RunConfig:
    sections = _COMPOSERS[0].compose_sections(overrides)
    assert sections, f"{overrides} cannot be composed"
    return to_config(sections.raw)


def refuse(**chosen: str) -> None:
    """Composes with Hydra's own node, and raises what the command says."""
    try:
        to_composed(
            compose("config", [f"{group}={option}" for group, option in chosen.items()], return_hydra_config=True)
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


@pytest.mark.parametrize("option", CELLS)
def test_every_option_composes_and_validates(option: str) -> None:
    group, name = option.split("/")
    config = load(**BASE | {group: name} | CHOICES.get(option, {}))
    if group == "tracking":  # an option stands below its tracker's name
        assert list(config.tracking.trackers) == ([] if name == "none" else [name])
        return
    section = getattr(config, group)
    assert section.name == CHOICES.get(option, {}).get(f"{group}.name", name)


@pytest.mark.parametrize(
    ("option", "section"),
    [
        ("model/_vllm", VllmSection),
        ("model/_transformers", TransformersSection),
        ("model/_openai", OpenaiSection),
        ("model/replay", ReplaySection),
        ("model/echo", EchoSection),
    ],
)
def test_every_key_of_an_engine_can_be_overridden(option: str, section: type[Frozen]) -> None:
    engine = yaml.safe_load((CONF / f"{option}.yaml").read_text())["engine"]
    assert engine.keys() == section.model_fields.keys()
    for name, field in section.model_fields.items():
        if isinstance(field.default, Frozen):
            assert engine[name].keys() == type(field.default).model_fields.keys()


@pytest.mark.parametrize(
    "option", [option for option in CELLS if option.startswith("model/") and option not in CHOICES]
)
def test_every_model_can_caption_ask_and_judge(option: str) -> None:
    name = option.split("/")[1]
    roles = {"model@captioner": name, "model@asker": name}
    config = load(**BASE | {"judge": "strict", "model@judge.model": name} | roles)
    assert config.captioner == config.asker == config.judge.model
    assert config.judge.model.name == name


@pytest.mark.parametrize("option", [option for option in CELLS if option.startswith("model/")])
def test_every_model_with_weights_says_what_they_take(option: str) -> None:
    model = load(**BASE | {"model": option.split("/")[1]} | CHOICES.get(option, {})).model
    assert (model.expect.memory_gb is not None) == (isinstance(model.engine, LoadedSection) and option not in CHOICES)


@pytest.mark.parametrize("option", [option for option in CELLS if option.startswith("model/")])
def test_one_request_without_a_reply_does_not_end_an_endpoint(option: str) -> None:
    engine = load(**BASE | {"model": option.split("/")[1]} | CHOICES.get(option, {})).model.engine
    if isinstance(engine, OpenaiSection):
        assert engine.outage_timeout_s >= 2 * engine.request_timeout_s


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gpt_4o", {"max_completion_tokens", "temperature", "top_p", "seed", "response_format"}),
        ("gpt_6_luna", {"max_completion_tokens", "reasoning_effort", "response_format"}),
        ("claude_haiku_4_5", {"max_tokens", "temperature"}),
        ("qwen3_vl_plus", {"max_tokens", "temperature", "top_p", "seed", "response_format", "enable_thinking"}),
    ],
)
def test_an_endpoint_is_sent_what_it_takes(name: str, fields: set[str]) -> None:
    engine = load(**BASE | {"model": name}).model.engine
    assert isinstance(engine, OpenaiSection)
    sampling = Sampling(0.2, 0.9, 64)
    request = Request("s0", "d0", None, "Reply in JSON.", (), sampling, 7, strict_schema(2, 100))
    assert build_body(request, (), engine).keys() == fields | {"model", "messages"}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published protocol in ../shared/eibench")
@pytest.mark.parametrize("subset", ["basic", "complex"])
@pytest.mark.parametrize(
    ("option", "sampling", "rule"),
    [
        ("llama3_8b", Sampling(0.1, 0.9, 512), AcceptRule("{score: ", True, 5, "{score: 0/1}")),
        ("chatgpt_3_5", Sampling(0.1, 1.0, 512), AcceptRule("{score", False, 20, "")),
    ],
)
def test_the_published_judges_are_asked_as_published_over_both_sets(
    option: str, subset: str, sampling: Sampling, rule: AcceptRule
) -> None:
    judge = load(**BASE | {"judge": option}).judge
    assert judge.model is not None
    prompt, sent, accept = word_judge(judge, judge.model, make_scorer(judge.scorer), subset, load_protocol(PUBLISHED))
    assert prompt.is_official
    assert (sent, accept) == (sampling, rule)
    # The two sets' texts of LLaMA-3 differ in two letters; GPT's is one for both.
    assert ("comprehending an emotion" in prompt.user) == ((option, subset) == ("llama3_8b", "complex"))
    assert judge.model.engine.kind == ("vllm" if option == "llama3_8b" else "openai")


@pytest.mark.parametrize("option", EXPERIMENTS)
def test_every_experiment_composes_and_names_options_that_exist(option: str) -> None:
    name = option.split("/")[1]
    overlay = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    assert load(experiment=name).sweep == overlay["sweep"]
    sweeper = overlay["hydra"]["sweeper"]
    listed = {
        (group, choice)
        for choices in (sweeper["params"], *sweeper.get("blocks", {}).values())
        for group, names in choices.items()
        for choice in names.split(",")
    }
    for group, choice in listed:
        assert getattr(load(experiment=name, **{group: choice}), group).name == choice


@pytest.mark.parametrize(("option", "key"), [(option, key) for option, choices in CHOICES.items() for key in choices])
def test_what_is_left_to_choose_is_named_when_it_is_missing(option: str, key: str) -> None:
    group, name = option.split("/")
    given = {other: value for other, value in CHOICES[option].items() if other != key}
    with pytest.raises(ConfigError, match=rf"^{key} is missing: "):
        refuse(**BASE | {group: name} | given)


@pytest.mark.parametrize("group", ["model", "dataset", "judge"])
def test_a_group_without_a_default_is_named_when_it_is_missing(group: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^{group} is missing: choose one with {group}=OPTION \(there are .*\becho|demo"
    ):
        refuse(**{other: option for other, option in BASE.items() if other != group})


@pytest.mark.parametrize("option", OPTIONS)
def test_only_experiments_write_elsewhere_and_none_interpolates(option: str) -> None:
    text = (CONF / f"{option}.yaml").read_text()
    assert ("@package _global_" in text) == (option in EXPERIMENTS)
    assert "${" not in text


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.relative_to(CONF).as_posix())
def test_no_option_names_a_secret(path: Path) -> None:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if "KEY" in value or "TOKEN" in value:
            assert key.strip() == "api_key_env", "only the name of the key's variable stands in a configuration"
