import json
from pathlib import Path

import pytest

from eibench_ray.benchmarks.eibench.official_scorer import official_verdict, read_judgements, score_official
from eibench_ray.benchmarks.eibench.parsed_verdict import CountStatus as Status
from eibench_ray.errors import DataError, ScoreError

HAPPY, ANGRY, SAD, EXCIT = "C/train/Happy/1.png", "C/train/Angry/1.png", "E/sadness/1.jpg", "E/excitement/1.jpg"


def test_scores_are_means_over_all_judgements_and_by_path() -> None:
    scores = score_official(
        [(HAPPY, "{score: 1/2} because"), (ANGRY, "{score: 1/4}"), (SAD, "so {score: 3/3}"), (EXCIT, "{score: 0/5}")]
    )
    assert (scores.happy, scores.angry, scores.sad, scores.excit) == (0.5, 0.25, 1.0, 0.0)
    assert scores.average == 0.4375
    assert scores.unmatched == ()


def test_output_is_the_scripts_output_with_five_digits() -> None:
    scores = score_official([(HAPPY, "{score: 2/3}"), (SAD, "none"), (SAD, "{score: 1/7}")])
    assert scores.text() == (
        "E/sadness/1.jpg\n"
        "happy Score: 0.66667\n"
        "angry Score: 0.00000\n"
        "sad Score: 0.40476\n"
        "excit Score: 0.00000\n"
        "average Score: 0.40476\n"
    )


def test_reply_without_score_repeats_the_value_before_in_its_emotion_only() -> None:
    scores = score_official(
        [(HAPPY, "{score: 1/2}"), (SAD, "I cannot tell"), (SAD, "nor here"), (ANGRY, "{score: 1/1}")]
    )
    assert scores.average == 0.75  # of two
    assert scores.sad == 0.5  # of two repeated values
    assert scores.unmatched == (SAD, SAD)


@pytest.mark.parametrize(
    ("reply", "average"),
    [
        ("{score: 1/2} then {score: 2/2}", 0.5),
        ("{{score: 1/2}}", 0.5),
        ("{score: 7/2}", 3.5),
        ("{score: 04/08}", 0.5),
        ("{score: ٣/٤}", 0.75),  # \d and int know all decimal digits
        ("{Score: 1/2}", 0.0),
        ("{score:1/2}", 0.0),
        ("{score:  1/2}", 0.0),
        ("{score: 1/2 }", 0.0),
        ("{score: 1.5/2}", 0.0),
        ("{score: -1/2}", 0.0),
        ("score: 1/2", 0.0),
    ],
)
def test_first_exact_match_counts_and_is_not_clamped(reply: str, average: float) -> None:
    assert score_official([("elsewhere.jpg", reply)]).average == average


@pytest.mark.parametrize(
    ("path", "emotion"),
    [
        ("Happy/sadness.jpg", "happy"),
        ("sad/Angry.jpg", "sad"),
        ("Angry/excitement.jpg", "angry"),
        ("excit.jpg", "excit"),
        ("happy/angry/Sad/Excit.jpg", None),
    ],
)
def test_emotion_is_the_first_part_of_the_path_that_matches(path: str, emotion: str | None) -> None:
    scores = score_official([(path, "{score: 1/1}")])
    found = {name for name in ("happy", "angry", "sad", "excit") if getattr(scores, name) == 1.0}
    assert found == ({emotion} if emotion else set())


def test_no_judgements_score_zero() -> None:
    scores = score_official([])
    assert (scores.happy, scores.angry, scores.sad, scores.excit, scores.average) == (0, 0, 0, 0, 0)


def test_complex_subset_has_the_average_only() -> None:
    scores = score_official([(SAD, "nothing"), (SAD, "{score: 1/4}"), (EXCIT, "{score: 3/4}")], subset="complex")
    assert (scores.happy, scores.angry, scores.sad, scores.excit) == (None, None, None, None)
    assert scores.text() == "E/sadness/1.jpg\naverage Score: 0.50000\n"


def test_first_reply_without_score_is_an_error_where_its_emotion_needs_one() -> None:
    with pytest.raises(ScoreError, match=r"judgement 1 \(E/sadness/1\.jpg\) has no"):
        score_official([(SAD, "nothing"), (SAD, "{score: 1/4}")])
    assert score_official([("elsewhere.jpg", "nothing"), (SAD, "{score: 1/4}")]).average == 0.25


@pytest.mark.parametrize("score", ["1/0", "0/0", "9" * 400 + "/1", "9" * 5000 + "/1"])
def test_score_without_a_value_is_an_error_that_names_the_judgement(score: str) -> None:
    with pytest.raises(ScoreError, match=r"judgement 2 \(E/sadness/1\.jpg\) says") as caught:
        score_official([(HAPPY, "{score: 1/2}"), (SAD, f"{{score: {score}}}")])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        ("{score: 2/5}", (2, 5)),
        ("My view: {score: 0/1}. Sorry. {score: 1/1}", (0, 1)),
        ("{score: 7/5}", (7, 5)),
        ("", None),
        ("{score: 2 of 5}", None),
        ("{score: 2/0}", None),
        ("{score: 99999999999/3}", None),
        ("{score: " + "1" * 5000 + "/3}", None),
    ],
)
def test_verdict_reads_the_first_score_or_is_unparsed(reply: str, counts: tuple[int, int] | None) -> None:
    verdict = official_verdict(reply)
    assert (verdict.correct, verdict.total) == (counts or (None, None))
    assert verdict.status is (Status.OK if counts else Status.UNPARSED)


@pytest.mark.parametrize(
    ("reply", "explanation"), [("{score: 1/2}", None), ("{score: 1/2}\nOne of two.", "One of two.")]
)
def test_explanation_is_the_rest_of_the_reply(reply: str, explanation: str | None) -> None:
    assert official_verdict(reply).explanation == explanation


def test_judgements_are_read_in_order_over_several_keys_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text('{"a": "1", "b": "2"}\n\n{"a": "\\u00e9\\n"}', encoding="utf-8")
    assert list(read_judgements(path)) == [("a", "1"), ("b", "2"), ("a", "é\n")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"a": ', "not JSON"),
        ('["a"]', "expected an object"),
        ('"a"', "expected an object"),
        ('{"a": {"why?": "1. this"}}', "the reply for 'a' is dict"),
        ('{"a": null}', "the reply for 'a' is NoneType"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_malformed_line_is_named_with_file_and_number(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps({"a": "{score: 1/2}"}) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_judgements(path))
    assert f"{path}:2: " in str(caught.value)
    assert fault in str(caught.value)


def test_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_judgements(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(DataError, match="cannot be read"):
        list(read_judgements(tmp_path / "latin.jsonl"))
