from pathlib import Path

import pytest

from eibench_ray.datasets.prompts_file import (
    UNBOUNDED_ATTEMPTS,
    PromptSet,
    SourcePrompt,
    SourceSampling,
    dump_protocol,
    load_protocol,
    to_jinja,
)
from eibench_ray.errors import DataError
from eibench_ray.rows.request import AcceptRule

PUBLISHED = Path(__file__).resolve().parents[2] / ".." / "shared" / "eibench" / "protocol.yaml"

PROTOCOL = PromptSet(
    subject={"user_question": SourcePrompt(None, "Look, {question}", SourceSampling(temperature=0.25, max_tokens=64))},
    judge={
        "llama3_basic": SourcePrompt(
            "Be fair: {{}}.",
            "Mark {record}\nby {reference} as {{mark: a/b}}",
            SourceSampling(0.5, 0.75, 32),
            AcceptRule("{mark: ", True, 3, "{mark: 0/1}"),
            "some/judge",
        ),
        "gpt_basic": SourcePrompt(None, "{record} {reference}", SourceSampling(), AcceptRule("it's", False, 20, "")),
    },
)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "protocol.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_protocol_survives_being_dumped_and_loaded(tmp_path: Path) -> None:
    loaded = load_protocol(write(tmp_path, dump_protocol(PROTOCOL)))
    assert loaded == PROTOCOL
    assert loaded.digest == PROTOCOL.digest


def test_the_digest_changes_with_any_word(tmp_path: Path) -> None:
    changed = load_protocol(write(tmp_path, dump_protocol(PROTOCOL).replace("Look, ", "Look; ")))
    assert changed.digest != PROTOCOL.digest


def test_shared_sampling_holds_for_prompts_without_their_own(tmp_path: Path) -> None:
    text = "subject: {a: {user: 'x'}, b: {user: 'y', sampling: {top_p: 0.5}}, sampling: {temperature: 0.25}}"
    protocol = load_protocol(write(tmp_path, text))
    assert protocol.subject["a"].sampling == SourceSampling(temperature=0.25)
    assert protocol.subject["b"].sampling == SourceSampling(top_p=0.5)
    assert "sampling" not in protocol.subject


def test_unbounded_attempts_are_bounded_and_a_variant_accepts_as_its_family(tmp_path: Path) -> None:
    text = """
judge:
  gpt_basic: {user: "{record}", accept_if: "reply contains '{mark'", attempts: unbounded}
  llama3_basic: {user: "{record}", accept_if: "lower-cased reply contains '{mark: '", attempts: 2, on_exhausted: "no"}
  llama3_complex: {user: "{record}", attempts: 4, on_exhausted: "none"}
  other: {user: "{record}"}
"""
    protocol = load_protocol(write(tmp_path, text))
    accept = {name: prompt_source.accept for name, prompt_source in protocol.judge.items()}
    assert accept == {
        "gpt_basic": AcceptRule("{mark", False, UNBOUNDED_ATTEMPTS, ""),
        "llama3_basic": AcceptRule("{mark: ", True, 2, "no"),
        "llama3_complex": AcceptRule("{mark: ", True, 4, "none"),
        "other": None,
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("subject: [", "cannot be read"),
        ("- a\n- b", "its top level"),
        ("judge: {a: {user: 'x', sampling: {temperature: -1}}}", "judge.a.sampling.temperature"),
        ("judge: {a: {user: 'x', accept_if: 'sometimes'}}", "judge.a.accept_if"),
        ("judge: {a: {user: 'x', colour: red}}", "judge.a.colour"),
        ("subject: {a: {user: 'Why {name}?'}}", "{name}"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(DataError) as caught:
        load_protocol(write(tmp_path, text))
    assert named in str(caught.value)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published protocol in ../shared/eibench")
def test_the_published_protocol_is_understood() -> None:
    protocol = load_protocol(PUBLISHED)
    assert set(protocol.subject) == {"user_question", "user_question_cot"}
    assert {"llama3_basic", "llama3_complex", "gpt_basic"} <= set(protocol.judge)
    basic, complex_, gpt = (protocol.judge[name].accept for name in ("llama3_basic", "llama3_complex", "gpt_basic"))
    assert basic == complex_ == AcceptRule("{score: ", True, 5, "{score: 0/1}")
    assert gpt == AcceptRule("{score", False, UNBOUNDED_ATTEMPTS, "")
    assert "{{ record }}" in to_jinja(protocol.judge["llama3_basic"].user)
    assert "{score: correct/total}" in to_jinja(protocol.judge["llama3_basic"].user)
    assert to_jinja(protocol.subject["user_question"].user).endswith("{{ question }}")
