"""Replay: recorded predictions, found by picture and question; what is malformed is named by file and line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.replay import ReplayEngine, ReplaySection
from eibench_ray.errors import EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request, Sampling


def request(path: str | None, question: str = "why?") -> Request:
    return Request("id1", "d", None, "", (), Sampling(0, 1, 8), 0, image_path=path, question=question)


def start(tmp_path: Path, content: str | bytes) -> tuple[ReplayEngine, EngineFacts]:
    file = tmp_path / "faces.plain.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    replay = ReplayEngine(ReplaySection(kind="replay", predictions=str(tmp_path)), str(file))
    return replay, asyncio.run(replay.start())


def replay_one(replay: ReplayEngine, asked: Request) -> Reply:
    return asyncio.run(replay.generate(asked, ()))


def test_a_text_per_picture(tmp_path: Path) -> None:
    replay, facts = start(tmp_path, '{"a/1.jpg": "sun"}\n\n{"a/2.jpg": "rain", "a/3.jpg": "snow"}\n')
    texts = [replay_one(replay, request(f"a/{number}.jpg")).text for number in (1, 2, 3)]
    assert texts == ["sun", "rain", "snow"]
    assert facts == EngineFacts("replay faces.plain.jsonl", 1024)
    assert replay_one(replay, request("a/1.jpg")) == Reply("sun", "recorded", 0, 0)


def test_a_text_per_picture_and_question(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, '{"1.jpg": {"why?": "sun", "who?": "she"}}\n{"1.jpg": {"when?": "now"}}\n')
    assert [replay_one(replay, request("1.jpg", word)).text for word in ("why?", "who?", "when?")] == [
        "sun",
        "she",
        "now",
    ]


def test_the_text_of_the_question_goes_before_the_pictures(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, '{"1.jpg": "any"}\n{"1.jpg": {"why?": "sun"}}\n')
    assert [replay_one(replay, request("1.jpg", word)).text for word in ("why?", "who?")] == ["sun", "any"]


def test_a_sample_without_a_picture_is_found_by_its_id(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, '{"id1": "sun"}')
    assert replay_one(replay, request(None)).text == "sun"


@pytest.mark.parametrize("asked", [request("2.jpg"), request("1.jpg", "who?")])
def test_a_missing_prediction_is_an_error_of_its_row(tmp_path: Path, asked: Request) -> None:
    replay, _ = start(tmp_path, '{"1.jpg": {"why?": "sun"}}')
    with pytest.raises(RowError, match=r"faces\.plain\.jsonl has no prediction for [12]\.jpg") as caught:
        replay_one(replay, asked)
    assert caught.value.kind is RowErrorKind.RECORD


@pytest.mark.parametrize("content", ['{"1.jpg": null}', '{"1.jpg": "any"}\n{"1.jpg": {"why?": null}}'])
def test_null_is_no_answer_of_its_row_and_the_others_are_replayed(tmp_path: Path, content: str) -> None:
    replay, _ = start(tmp_path, content + '\n{"2.jpg": "sun"}')
    with pytest.raises(RowError, match=r"has null in the place of the prediction for 1\.jpg") as caught:
        replay_one(replay, request("1.jpg"))
    assert caught.value.kind is RowErrorKind.RECORD
    assert replay_one(replay, request("2.jpg")).text == "sun"


@pytest.mark.parametrize("lines", ['{"1.jpg": null}\n{"1.jpg": "sun"}', '{"1.jpg": "sun"}\n{"1.jpg": null}'])
def test_an_answer_stands_beside_a_null_of_the_same_picture(tmp_path: Path, lines: str) -> None:
    assert replay_one(start(tmp_path, lines)[0], request("1.jpg")).text == "sun"


@pytest.mark.parametrize("text", ["", "two\nlines", "a\u2028b\x85c\u000bd", "\u00e9\U0001f382", "half \ud83d"])
def test_every_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    for ensure_ascii in (True, False):
        content = json.dumps({"1.jpg": text, "2.jpg": "sun"}, ensure_ascii=ensure_ascii)
        replay, _ = start(tmp_path, (content + "\r\n").encode("utf-8", "surrogatepass"))
        assert replay_one(replay, request("1.jpg")).text == text


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, b'\xef\xbb\xbf{"1.jpg": "sun"}\n')
    assert replay_one(replay, request("1.jpg")).text == "sun"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"1.jpg": "sun"', "is not JSON"),
        ("sun", "is not JSON"),
        ('["sun"]', "is a list, not an object"),
        ('{"1.jpg": 3}', "has a int for 1.jpg, not a text"),
        ('{"1.jpg": {"why?": ["sun"]}}', "has a list for 1.jpg"),
        ('{"0.jpg": "another"}', "has another prediction for 0.jpg than an earlier line"),
        (b'{"1.jpg": "\xff\xfe"}', "is not JSON"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str | bytes, words: str) -> None:
    content = b'{"0.jpg": "ok"}\n\n' + (line if isinstance(line, bytes) else line.encode()) + b'\n{"9.jpg": "ok"}\n'
    with pytest.raises(EngineError) as caught:
        start(tmp_path, content)
    assert f"{tmp_path}/faces.plain.jsonl:3 {words}" in str(caught.value)


def test_the_same_prediction_twice_is_no_contradiction(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, '{"1.jpg": "sun"}\n{"1.jpg": "sun"}\n')
    assert replay_one(replay, request("1.jpg")).text == "sun"


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    replay = ReplayEngine(ReplaySection(kind="replay", predictions="p"), str(tmp_path / "faces.plain.jsonl"))
    with pytest.raises(EngineError, match=r"faces\.plain\.jsonl cannot be read \(No such file.*put them there"):
        asyncio.run(replay.start())


def test_lines_may_name_samples_by_their_ids(tmp_path: Path) -> None:
    replay, _ = start(tmp_path, '{"id": "id1", "answer": "18", "model": "x"}\n{"id": 7, "answer": ""}\n')

    assert replay_one(replay, request("a/1.jpg")).text == "18"
    assert replay_one(replay, replace(request(None), sample_id="7")).text == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [('{"id": "other", "answer": "sun"}', "no prediction for id1"), ('{"id": "id1", "answer": null}', "null in")],
)
def test_an_id_without_an_answer_is_an_error_of_its_row(tmp_path: Path, content: str, words: str) -> None:
    replay, _ = start(tmp_path, content)

    with pytest.raises(RowError, match=words) as caught:
        replay_one(replay, request("id1"))

    assert caught.value.kind is RowErrorKind.RECORD


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '{"id": "id1", "answer": "sun"}\n{"1.jpg": "sun"}',
            r":2 has the form \{path: text\}, but line 1 has \{\"id\"",
        ),
        (
            '{"1.jpg": "sun"}\n\n{"id": 1, "answer": "sun"}',
            r":3 has the form \{\"id\": .*, but line 1 has \{path: text",
        ),
        ('{"id": "id1", "answer": "sun"}\n{"id": "id2"}', r":2 has the form \{path: text\}"),
        (
            '{"id": 1, "answer": "sun"}\n{"id": "1", "answer": "rain"}',
            "another prediction for 1 than an earlier line: give",
        ),
        ('{"id": true, "answer": "sun"}', "has a bool for its id"),
        ('{"id": 1, "answer": 18}', "has a int for 1, not a text"),
    ],
)
def test_a_file_has_one_form_and_one_answer_per_id(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        start(tmp_path, content)
