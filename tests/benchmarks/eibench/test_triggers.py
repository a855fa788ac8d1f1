import pytest

from eibench_ray.benchmarks.eibench.triggers import find_numbered, number_triggers, split_triggers


@pytest.mark.parametrize(
    ("text", "triggers"),
    [
        ("1. Rain.\n2. A lost bag.", ("Rain.", "A lost bag.")),
        ("1. Rain.\n 2. A lost bag.\n3. ", ("Rain.", "A lost bag.")),
        ("1) Rain\n2) 3 cats", ("Rain", "3 cats")),
        ("Rain\nA lost bag", ("Rain", "A lost bag")),
        ("1. Rain that\nnever ends.", ("Rain that never ends.",)),
        (" \n", ()),
        ("", ()),
    ],
)
def test_split_triggers_drops_numbers_and_empty_entries(text: str, triggers: tuple[str, ...]) -> None:
    assert split_triggers(text) == triggers


def test_numbered_triggers_are_split_again() -> None:
    triggers = ("Rain.", "A lost bag.", "2 broken cups.")
    assert split_triggers(number_triggers(triggers)) == triggers


@pytest.mark.parametrize(
    ("answer", "triggers"),
    [
        ("1. Rain.\n2. A lost bag.", ("Rain.", "A lost bag.")),
        ("Sure! Here they are:\n\n1. Rain.\n2. A lost bag.\n\nThese may cause it.", ("Rain.", "A lost bag.")),
        ("1. **Rain**: it pours.\n\n2. **A lost bag**", ("Rain: it pours.", "A lost bag")),
        ("1.\n\n2. Rain that\nnever ends.", ("Rain that never ends.",)),
        ("She lost 2 bags.", ()),
        ("- Rain.\n- A lost bag.", ()),
        ("", ()),
    ],
)
def test_an_answers_numbered_triggers_are_found_among_its_words(answer: str, triggers: tuple[str, ...]) -> None:
    assert find_numbered(answer) == triggers
