import pytest

from eibench_ray.data.triggers import number_triggers, split_triggers


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
