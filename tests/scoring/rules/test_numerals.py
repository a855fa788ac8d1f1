"""Numbers in texts: as people and models write them, exactly, and in linear time."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.scoring.rules.numerals import Numeral, find_numerals


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("65,960", ["65960"]),
        ("$1,000.50", ["1000.50"]),
        ("1,450,000.", ["1450000"]),
        ("-3", ["-3"]),
        ("-$4 or $-4", ["-4", "-4"]),
        ("\N{MINUS SIGN}20", ["-20"]),
        ("10-3 = 7", ["10", "3", "7"]),
        ("90 \N{EN DASH} 67.5", ["90", "67.5"]),
        ("x=-.5", ["-0.5"]),
        ("1/2", ["0.5"]),
        ("1 1/2 cups", ["1.5"]),
        ("1½ or ½", ["1.5", "0.5"]),
        (r"-\frac{3}{4}, 3\dfrac{1}{2}", ["-0.75", "3.5"]),
        (r"\boxed{65{,}960} and 1\,000", ["65960", "1000"]),
        ("on 12/25/2024", ["12", "25", "2024"]),
        ("5/0", []),
        ("3 x 10^8, 2 \\times 10^{-2}, 1e3", ["3e8", "0.02", "1000"]),
        ("<<9*2=18>>18 dollars", ["9", "2", "18", "18"]),
        ("**18**", ["18"]),
        ("CO2 and B12, v1", []),
        ("18th, 5kg", ["18", "5"]),
        ("1,2,3", ["1", "2", "3"]),
        ("1.2.3", ["1.2", "3"]),
        ("\N{ARABIC-INDIC DIGIT THREE}\N{FULLWIDTH DIGIT ONE}", ["31"]),
        ("ten", []),
        ("", []),
        ("nan, inf, \ud800", []),
    ],
)
def test_numbers_are_read_as_they_are_written(text: str, values: list[str]) -> None:
    assert [numeral.value for numeral in find_numerals(text)] == [Decimal(value) for value in values]


def test_a_comma_can_be_the_decimal_point() -> None:
    (found,) = find_numerals("1.000,5 Euro", decimal_comma=True)

    assert found.value == Decimal("1000.5")


@pytest.mark.parametrize(
    ("said", "target", "tolerance", "is_close"),
    [
        ("3.0", "3", 0, True),
        ("0.30", "0.3", 0, True),
        ("2/6", "1/3", 0, True),
        ("0.333", "1/3", 0, False),
        ("0.333", "1/3", 0.01, True),
        ("-3", "3", 0, False),
        ("-0", "0", 0, True),
        ("105", "100", 0.05, True),
        ("95", "100", 0.05, True),
        ("106", "100", 0.05, False),
        ("-95", "-100", 0.05, True),
        ("0.01", "0", 0.5, False),
        ("50%", "50", 0, True),
        ("50%", "0.5", 0, True),
        ("0.5", "50 percent", 0, True),
        ("0.5%", "50%", 0, False),
        ("1e999", "1e998", 0, False),
        ("0." + "3" * 5000, "0." + "3" * 5000, 0, True),
        ("0." + "3" * 5000, "1/3", 0, False),
    ],
)
def test_numbers_compare_as_numbers(said: str, target: str, tolerance: float, is_close: bool) -> None:
    assert only(said).is_close(only(target), tolerance) is is_close


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "{}.0", "so {} dollars.", "A: {:,}"]))
def test_every_whole_number_is_read_however_it_is_grouped(number: int, form: str) -> None:
    assert only(form.format(number)).value == number


@given(st.integers(-999, 999), st.integers(1, 999))
def test_fractions_equal_their_reduced_form(numerator: int, denominator: int) -> None:
    assert only(f"{numerator}/{denominator}").is_close(only(str(Fraction(numerator, denominator))))


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert all(numeral.is_close(numeral) for numeral in find_numerals(text))


@pytest.mark.parametrize(
    "part", ["1 ", "1,", "1,111,", "-", "$", "1", "1 /", "1e", ".1", r"\frac{1}{", "1 x 10^{", "{,}"]
)
def test_a_long_reply_is_read_at_once(part: str) -> None:
    began = time.process_time()

    find_numerals(part * (100_000 // len(part)))

    assert time.process_time() - began < 5


def only(text: str) -> Numeral:
    (numeral,) = find_numerals(text)
    return numeral


def test_without_a_tolerance_only_equal_numbers_are_close() -> None:
    five, percent = Numeral("5", Decimal(5)), Numeral("5%", Decimal(5), is_percent=True)
    assert five.is_close(Numeral("5.0", Decimal("5.0")))
    assert not five.is_close(Numeral("5.0000001", Decimal("5.0000001")))
    assert not five.is_percent
    assert percent.is_close(five)
    assert percent.is_close(Numeral("0.05", Decimal("0.05")))
    assert not five.is_close(Numeral("0.05", Decimal("0.05")))
