"""Numbered lists as people and models write them; the same reader serves references, labels and lines."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.benchmarks.eibench.triggers import find_numbered, number_triggers, split_triggers
from eibench_ray.plan.reply_lines import split_lines

EIBENCH = Path(__file__).parents[3] / "shared" / "eibench"
READERS = (split_triggers, find_numbered, split_lines)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. a\n2. b", ["a", "b"]),
        ("They are:\n1. a\n2. b", ["a", "b"]),
        ("Sure! Here they are:\n\n1. a\n\n2. b", ["a", "b"]),
        ("1) a 2) b", ["a", "b"]),
        ("1. a 2. b 3. c", ["a", "b", "c"]),
        ("(1) a (2) b", ["a", "b"]),
        ("1)a 2)b 3)c", ["a", "b", "c"]),
        ("Two: 1) rain 2) a bag", ["rain", "a bag"]),
        ("1) a 2) b\n3) c 4) d", ["a", "b", "c", "d"]),
        ("1. a 2. b\n3. c", ["a", "b", "c"]),
        ("1. a\n2. b. 3. c", ["a", "b.", "c"]),
        ("1.a\n2.b", ["a", "b"]),
        ("(1) a\n(2) b", ["a", "b"]),
        ("1: a\n2: b", ["a", "b"]),
        ("1 - a\n2 - b", ["a", "b"]),
        ("1 \u2013 a\n2 \u2013 b", ["a", "b"]),
        ("**1.** a\n**2.** b", ["a", "b"]),
        ("**1. a**\n**2. b**", ["a", "b"]),
        ("### 1. a\n### 2. b", ["a", "b"]),
        ("> 1. a\n> 2. b", ["a", "b"]),
        ("- 1. a\n- 2. b", ["a", "b"]),
        ("\uff11\uff0e\u96e8\n\uff12\uff0e\u9784", ["\u96e8", "\u9784"]),
        ("1\u3001\u96e8\n2\u3001\u9784", ["\u96e8", "\u9784"]),
        ("1. a\r\n2. b\r\n", ["a", "b"]),
        ("1. a\n3. b\n7. c", ["a", "b", "c"]),
        ("1. a\n2. b\n1. c\n2. d", ["a", "b", "c", "d"]),
        ("0. a\n1. b", ["a", "b"]),
        ("10. a\n11. b", ["a", "b"]),
        ("1. a that\n   never ends\n2. b", ["a that never ends", "b"]),
        ("1. a that\nnever ends\n2. b", ["a that never ends", "b"]),
        ("1. a\n   - warm\n   - wet\n2. b", ["a - warm - wet", "b"]),
        ("1. a\n   1. warm\n   2. wet\n2. b", ["a 1. warm 2. wet", "b"]),
        ("1. a\n2.5 years of separation\n2. b", ["a 2.5 years of separation", "b"]),
        ("1. Fired on\n1. May 2020\n2. b", ["Fired on 1. May 2020", "b"]),
        ("1. May 2020: fired\n2. June 2020: alone", ["May 2020: fired", "June 2020: alone"]),
        ("1. a in\n1990. Alone\n2. b", ["a in 1990. Alone", "b"]),
        ("1. a of\n500. More\n2. b", ["a of 500. More", "b"]),
        ("1. She came 3. Then\n2. b", ["She came 3. Then", "b"]),
        ("1. a\n2. She came 3. Then she left.", ["a", "She came 3. Then she left."]),
        ("1. In it, 2) was\n2. b", ["In it, 2) was", "b"]),
        ("1. The 3-year-old\n2. 5 cats", ["The 3-year-old", "5 cats"]),
        ("1. \n2. b\n3.", ["b"]),
    ],
)
def test_each_reader_finds_the_same_items(text: str, items: list[str]) -> None:
    for reader in READERS:
        assert list(reader(text)) == items, reader.__name__


@pytest.mark.parametrize(
    "text",
    [
        "2.5 years of separation\nRain",
        "5 - 10 people laughed\nRain",
        "10:30 came and went\nRain",
        "1990. A bad year\nRain",
        "She came 1. in the race\nRain",
        "3-year-old\nRain",
        "She has 2) or so\nRain",
    ],
)
def test_a_number_in_a_sentence_begins_no_item(text: str) -> None:
    assert find_numbered(text) == ()
    assert list(split_triggers(text)) == text.splitlines()
    assert list(split_lines(text)) == text.splitlines()


@pytest.mark.parametrize(
    ("text", "triggers"),
    [
        ("Rain\n2. A bag", ["Rain", "A bag"]),  # the first has no number
        ("They are:\n2. A bag", ["A bag"]),
        ("They are:\nRain\nA bag", ["Rain", "A bag"]),
        ("- Rain\n- A bag that\n  fell", ["Rain", "A bag that fell"]),
        ("* Rain\nA bag", ["Rain", "A bag"]),
    ],
)
def test_a_reference_loses_no_trigger_that_has_no_number(text: str, triggers: list[str]) -> None:
    assert list(split_triggers(text)) == triggers


def test_the_published_references_have_the_triggers_they_always_had() -> None:
    if not EIBENCH.is_dir():
        pytest.skip("EIBench's files are not beside the checkout, in ../shared/eibench")
    references = json.loads((EIBENCH / "basic_ground_truth.json").read_text(encoding="utf-8"))
    counts: Counter[int] = Counter()
    for reference in references.values():
        triggers = split_triggers(reference)
        counts[len(triggers)] += 1
        # As published, "1. ...\n2. ..." line by line.
        pieces = [line.partition(".")[2] for line in reference.splitlines() if line.strip()]
        assert list(triggers) == [" ".join(piece.split()) for piece in pieces if piece.strip()]
        assert find_numbered(reference) == triggers
    assert sum(counts.values()) == 1615
    assert (min(counts), max(counts)) == (2, 10)


@given(
    st.lists(st.text("ab1.2)( \u00e9", min_size=1).map(str.split).map(" ".join).filter(bool), min_size=2, max_size=4)
)
def test_an_exported_label_is_read_as_the_labels_it_holds(pieces: list[str]) -> None:
    labels = find_numbered(number_triggers(pieces))
    again = find_numbered(number_triggers(labels))
    assert len(again) >= len(labels)
    assert split_triggers(number_triggers(labels)) == again


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        "1. ",
        "1",
        " ",
        "(1) ",
        "\n \n",
        "-",
        "1) a 2) b\n",
        ",1",
        "*",
        "1.\n",
        "- a\n",
        "  1. a\n",
        " 2. b",
        "1. May ",
    ],
)
def test_a_long_text_is_read_in_linear_time(reader: Callable[[str], Sequence[str]], unit: str) -> None:
    def cpu_s(num_chars: int) -> float:
        gc.disable()  # else it may collect the garbage of all tests before, which takes half a second
        try:
            began = time.process_time()
            assert all(reader(unit * (num_chars // len(unit)) + "x"))
            return time.process_time() - began
        finally:
            gc.enable()

    # Eight times as many; where the time grew with the square of the length, seconds instead of hundredths of one.
    assert cpu_s(40_000) < 24 * cpu_s(5_000) + 0.1
