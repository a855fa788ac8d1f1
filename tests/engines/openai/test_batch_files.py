"""The files of a batch: what joins one, and what is read from what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eibench_ray.engines.openai.batch_files import Inbox, Outbox, to_line
from eibench_ray.engines.openai.http_client import Response
from eibench_ray.engines.openai.no_response import NoResponse
from eibench_ray.engines.openai.openai_section import BatchConfig


def outbox(**options: Any) -> Outbox:
    return Outbox(BatchConfig.model_validate({"linger_s": 5.0} | options), 100.0)


def inbox(*files: list[bytes]) -> Inbox:
    """An inbox with the lines of some files, as they come: in pieces."""
    found = Inbox()
    for lines in files:
        start = found.begin()
        whole = b"".join(line + b"\n" for line in lines)
        for at in range(0, len(whole), 7):
            found.write(whole[at : at + 7])
        found.index(start)
    return found


def line(line_id: Any, response: Any = None, error: Any = None) -> bytes:
    return json.dumps({"id": "batch_req", "custom_id": line_id, "response": response, "error": error}).encode()


def test_a_request_is_one_line() -> None:
    sent = to_line("id", b'{"model": "tiny"}')
    assert sent.endswith(b"}\n")
    assert sent.count(b"\n") == 1
    target = {"custom_id": "id", "method": "POST", "url": "/v1/chat/completions"}
    assert json.loads(sent) == target | {"body": {"model": "tiny"}}


def test_a_file_is_sent_when_nobody_has_joined_for_a_while() -> None:
    box = outbox()
    box.add("a", b"1\n", 103.0)
    assert box.left_s(104.0) == 4.0
    box.add("b", b"2\n", 107.0)
    assert box.left_s(112.0) == 0.0


@pytest.mark.parametrize(
    ("options", "has_room", "is_full"),
    [
        ({"max_requests": 2}, False, True),
        ({"max_requests": 3}, True, False),
        ({"max_bytes": 8}, False, True),
        ({"max_bytes": 11}, False, False),
        ({"max_bytes": 12}, True, False),
    ],
)
def test_a_file_has_room_for_so_many_requests_and_bytes(options: dict[str, int], has_room: bool, is_full: bool) -> None:
    box = outbox(**options)
    assert box.has_room(b"123\n")
    box.add("a", b"123\n", 100.0)
    box.add("b", b"123\n", 100.0)
    assert (box.has_room(b"123\n"), box.is_full) == (has_room, is_full)


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (line("a", {"status_code": 200, "body": {"ä": 1}}), Response(200, {}, '{"ä": 1}')),
        (line("a", {"status_code": 400, "body": {"error": {}}}), Response(400, {}, '{"error": {}}')),
        (
            line("a", None, {"code": "batch_expired", "message": "late"}),
            NoResponse("late (batch_expired)", was_sent=False),
        ),
        (line("a", {"status_code": "?"}, None), NoResponse("no reason was given (no code)", was_sent=False)),
        (line("a", "?", "?"), NoResponse("no reason was given (no code)", was_sent=False)),
        (line("b", {"status_code": 200, "body": {}}), None),
        (line(7, {"status_code": 200, "body": {}}), None),
        (b'{"custom_id": "a", "resp', None),
        (b'["custom_id"]', None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_a_line_that_comes_back_is_an_outcome_or_nothing(sent: bytes, outcome: Response | NoResponse | None) -> None:
    assert inbox([sent]).find("a") == outcome
    assert inbox([line("x"), sent, line("y")]).find("a") == outcome


def test_an_answer_stands_above_an_error_of_an_earlier_file() -> None:
    errors = [line("b", {"status_code": 500, "body": 1}), line("a", {"status_code": 500, "body": 2})]
    found = inbox(errors, [line("a", {"status_code": 200, "body": 3})])
    assert found.find("a") == Response(200, {}, "3")
    assert found.find("b") == Response(500, {}, "1")


def test_half_a_download_is_taken_back() -> None:
    found = inbox([line("a", {"status_code": 200, "body": 1})])
    start = found.begin()
    found.write(line("b", {"status_code": 200, "body": "a long one that is cut"})[:60])
    found.rewind(start)
    found.write(line("c", {"status_code": 200, "body": 3}) + b"\n")
    found.index(start)
    assert [found.find(name) for name in "abc"] == [Response(200, {}, "1"), None, Response(200, {}, "3")]
