"""Files that nobody has seen: what the command prints is what the published rules give, worked out apart from it.

The rules are the protocol's: the first `{score: C/T}` with one blank, C / T unclamped; a reply without one prints its
path, is left out of the average, and repeats the value before it in its emotion, which the path names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from eibench_ray.benchmarks.eibench.official_scorer import find_subset
from eibench_ray.cli.run_commands import rescore

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

Lines = list[dict[str, str]]

HAPPY, ANGRY = "CAER-S/train/Happy/0001.png", "CAER-S/train/Angry/0002.png"
SAD, EXCIT = "EmoSet-118k/image/sadness/sadness_01800.jpg", "EmoSet-118k/image/excitement/excitement_1.jpg"
AFRAID = "EmoSet-118k/image/fear/fear_04441.jpg"

app = typer.Typer()
app.command()(rescore)


def publish(lines: Lines, *, is_complex: bool) -> str:
    """Result of the rules, with nothing of ours: a dictionary per line, values in the order of the file."""
    printed, all_values = [], []
    groups: list[tuple[str, str, list[float]]] = [
        ("Happy", "happy", []),
        ("sad", "sad", []),
        ("Angry", "angry", []),
        ("excit", "excit", []),
    ]
    latest = None
    for line in lines:
        for path in line:
            scores = re.findall(r"\{score: (\d+)/(\d+)\}", line[path])
            if scores:
                latest = int(scores[0][0]) / int(scores[0][1])
                all_values.append(latest)
            else:
                printed.append(path)
            for part, _, values in groups:
                if part in path:
                    if latest is None and not is_complex:
                        raise LookupError(path)
                    values.append(latest or 0.0)
                    break
    means = {name: sum(values) / len(values) if values else 0 for _, name, values in groups}
    means["average"] = sum(all_values) / len(all_values) if all_values else 0
    shown = ["average"] if is_complex else ["happy", "angry", "sad", "excit", "average"]
    return "".join(f"{text}\n" for text in printed) + "".join(f"{name} Score: {means[name]:.5f}\n" for name in shown)


def read_figures(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+) Score: (\S+)$", text, flags=re.M))


def encode(lines: Lines, *, newline: str = "\n", bom: bool = False, blanks: bool = False, final: bool = True) -> bytes:
    written = [json.dumps(line, ensure_ascii=bom) for line in lines]
    text = newline.join([part for line in written for part in ([line, "", " "] if blanks else [line])])
    return (b"\xef\xbb\xbf" if bom else b"") + (text + newline * final).encode()


def called(path: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(path), "--protocol", "official", *arguments])
    return result.exit_code, result.stdout


COUNTS = st.integers(0, 12)
SCORES = st.builds("{{score: {}/{}}}".format, COUNTS, st.integers(1, 12))
NEARLY = st.sampled_from(
    [
        "{Score: 1/2}",
        "{score:1/2}",
        "{score:  1/2}",
        "{score: 1.5/2}",
        "{score: 1/2.0}",
        "{score: -1/2}",
        "{score: 1 / 2}",
        "{score: 1/2 }",
        "score: 1/2",
        "{score: /2}",
        "{score: 3}",
        "",
        "I cannot say.",
        '{"score": "1/2"}',
        "{{score: 2/3}}",
        "{score: 04/08}",
        "{score: \u0663/\u0664}",
    ]
)
WORDS = st.text(max_size=8)
REPLIES = st.lists(SCORES | NEARLY | WORDS, max_size=4).map("".join)
FOLDERS = st.sampled_from(
    [HAPPY, ANGRY, SAD, EXCIT, AFRAID, "happy/1.png", "Happy/sad/Angry.jpg", "elsewhere", "excit"]
)
PATHS = st.builds("{}{}".format, FOLDERS, st.sampled_from(["", "x", "\u00e9", '"', "\u2028"]))
FILES = st.lists(st.dictionaries(PATHS, REPLIES, max_size=3), max_size=12)
STYLES = st.fixed_dictionaries(
    {"newline": st.sampled_from(["\n", "\r\n"]), "bom": st.booleans(), "blanks": st.booleans(), "final": st.booleans()}
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=FILES, style=STYLES, subset=st.sampled_from(["basic", "complex"]))
def test_any_file_gives_what_the_rules_give(
    tmp_path: Path, lines: Lines, style: dict[str, object], subset: str
) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_bytes(encode(lines, **style))  # type: ignore[arg-type]
    try:
        expected = publish(lines, is_complex=subset == "complex")
    except LookupError:
        assert called(path, "--subset", subset)[0] == 1
        return
    code, out = called(path, "--subset", subset)
    assert (code, out) == (0, expected)
    code, out = called(path, "--subset", subset, "--json")
    assert [(name, f"{value:.5f}") for name, value in json.loads(out).items()] == list(read_figures(expected).items())


def test_a_key_that_comes_twice_in_a_line_counts_once_with_its_last_reply(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    first, second = json.dumps(HAPPY), json.dumps(SAD)
    path.write_text(f'{{{first}: "{{score: 1/1}}", {second}: "{{score: 1/4}}", {first}: "{{score: 1/2}}"}}\n')
    assert called(path)[1] == publish([{HAPPY: "{score: 1/2}", SAD: "{score: 1/4}"}], is_complex=False)


def test_a_path_that_comes_in_two_lines_counts_twice(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    lines = [{HAPPY: "{score: 1/1}"}, {HAPPY: "{score: 0/1}"}, {HAPPY: "none"}]
    path.write_bytes(encode(lines))
    assert called(path)[1] == publish(lines, is_complex=False)
    assert read_figures(called(path)[1])["happy"] == "0.33333"


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "replies.txt"
    path.write_bytes(encode([{HAPPY: "{score: 1/3}"}]))
    assert read_figures(called(path)[1])["average"] == "0.33333"


@pytest.mark.parametrize(
    ("paths", "subset"),
    [
        ([HAPPY, ANGRY, SAD, EXCIT], "basic"),
        ([SAD, EXCIT], "basic"),
        ([SAD, AFRAID, EXCIT], "complex"),
        ([AFRAID], "complex"),
        ([AFRAID, HAPPY], "basic"),
        ([AFRAID, "elsewhere.png"], "basic"),
        ([], "basic"),
    ],
)
def test_the_subset_follows_from_the_pictures(paths: list[str], subset: str) -> None:
    assert find_subset(paths) == subset


def test_a_complex_file_has_only_an_average_without_being_told(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    lines = [{AFRAID: "{score: 1/2}"}, {SAD: "nothing"}, {SAD: "{score: 7/3}"}]
    path.write_bytes(encode(lines))
    assert called(path) == (0, publish(lines, is_complex=True))
    assert called(path, "--json") == (0, '{"average": 1.41667}\n')


SHARED = Path(__file__).parents[3] / "shared" / "eibench"


@pytest.mark.skipif(not SHARED.exists(), reason="needs EIBench's annotations in ../shared/eibench")
@pytest.mark.parametrize(("name", "subset"), [("user.jsonl", "basic"), ("ec_complex.jsonl", "complex")])
def test_the_published_sets_are_told_apart(name: str, subset: str) -> None:
    lines = (SHARED / name).read_text(encoding="utf-8").splitlines()
    assert find_subset(path for line in lines for path in json.loads(line)) == subset
