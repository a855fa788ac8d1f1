import pytest

from eibench_ray.scoring.rounding import digits_for, show_coefficient, show_interval, show_share
from eibench_ray.scoring.scorer import Metric

SHARE = Metric("accuracy")
COSINE = Metric("coherence", format=".3f", low=-1.0)
LENGTH = Metric("length", unit="words", direction="lower", format=".0f", high=None)


def around(value: float, error: float) -> tuple[float, float]:
    """The interval of a value with this standard error."""
    return value - 2 * error, value + 2 * error


@pytest.mark.parametrize(
    ("metric", "error", "digits"),
    [
        (SHARE, 0.10, 0),  # 24 samples
        (SHARE, 0.0356, 0),
        (SHARE, 0.0354, 1),  # 200 samples
        (SHARE, 0.012, 1),  # 1,615 samples
        (SHARE, 0.0001, 1),  # no more than the format says
        (COSINE, 0.4, 1),
        (COSINE, 0.02, 3),
        (COSINE, 0.05, 2),
        (LENGTH, 30.0, 0),
        (LENGTH, 0.01, 0),
    ],
)
def test_the_last_digit_is_a_fraction_of_the_error(metric: Metric, error: float, digits: int) -> None:
    assert digits_for(metric, [around(0.5, error)]) == digits


def test_a_column_has_the_digits_of_its_narrowest_interval() -> None:
    wide, narrow, unknown, none = around(0.5, 0.1), around(0.5, 0.01), (None, None), (0.5, 0.5)
    assert digits_for(SHARE, [wide, unknown, none]) == 0
    assert digits_for(SHARE, [wide, unknown, none, narrow]) == 1


def test_where_no_error_is_known_the_format_decides() -> None:
    assert digits_for(SHARE, []) == 1
    assert digits_for(COSINE, [(None, None), (0.5, 0.5)]) == 3


def test_an_interval_reads_as_two_numbers() -> None:
    assert show_interval(SHARE, 0.931, 0.972) == "93.1 to 97.2"
    assert show_interval(SHARE, 0.931, 0.972, digits=0) == "93 to 97"
    assert show_interval(SHARE, 0.99, 0.9999) == "99.0 to >99.9"
    assert show_interval(COSINE, -0.068, 0.136) == "-0.068 to 0.136"
    assert show_interval(SHARE, -0.068, 0.136, "+") == "-6.8 to +13.6"
    assert show_interval(SHARE, None, None) == "-"


def test_a_share_is_full_or_nothing_only_where_it_is() -> None:
    shares = (0.0, 1 / 3000, 0.5, 2999 / 3000, 1.0, None)
    assert [show_share(share) for share in shares] == ["0.0", "<0.1", "50.0", ">99.9", "100.0", "-"]


def test_a_coefficient_has_its_sign_and_two_digits() -> None:
    assert [show_coefficient(value) for value in (0.5, -0.126, 0.0, None)] == ["+0.50", "-0.13", "+0.00", "-"]
