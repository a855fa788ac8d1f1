"""Values at the edge of the configuration: what holds for all of them."""

from __future__ import annotations

import math
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.config.overrides import Choices, join_blocks
from eibench_ray.config.slurm import to_seconds
from eibench_ray.errors import ConfigError
from eibench_ray.rows.prices import Price, cost_usd, format_usd
from eibench_ray.storage.location import read_location


def choices(keys: str) -> st.SearchStrategy[Choices]:
    values = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
    return st.dictionaries(st.sampled_from(keys), values).map(
        lambda drawn: {key: tuple(f"{key}={value}" for value in values) for key, values in drawn.items()}
    )


@given(chosen=choices("klm"), blocks=st.dictionaries(st.sampled_from("xyz"), choices("klm"), min_size=1))
def test_a_job_of_a_union_is_a_job_of_a_block_and_follows_what_was_chosen(
    chosen: Choices, blocks: dict[str, Choices]
) -> None:
    try:
        jobs = join_blocks(chosen, blocks)
    except ConfigError:
        listed = {item for block in blocks.values() for items in block.values() for item in items}
        assert any(set(items) & listed for items in chosen.values())
        return
    assert len(set(jobs)) == len(jobs)
    for job in jobs:
        keys = [item.split("=")[0] for item in job]
        assert len(set(keys)) == len(keys)
        assert all(item in chosen[key] for key, item in zip(keys, job, strict=True) if key in chosen)
        assert chosen.keys() <= set(keys)
        assert any(block.keys() <= set(keys) for block in blocks.values())


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_walltime_is_as_many_seconds_as_slurm_reads_in_it(days: int, hours: int, minutes: int, seconds: int) -> None:
    in_all = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert to_seconds(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == in_all
    assert to_seconds(in_all) == float(in_all)


@given(st.text("abc/ %?#é", min_size=1).map(lambda text: f"/{text}"))
def test_any_folder_can_be_named_by_a_path_and_by_an_address(folder: str) -> None:
    assert read_location(f"file://{quote(folder)}").path == folder


AMOUNTS = st.floats(0, 1e12)
TOKENS = st.integers(0, 10**9)


@given(AMOUNTS)
def test_an_amount_is_written_to_two_digits_that_count(amount: float) -> None:
    written = float(format_usd(amount).replace(",", ""))
    assert math.isclose(written, amount, rel_tol=0.06, abs_tol=0.0051 if amount >= 0.1 else 0.0)


@given(st.floats(0, 1e4), st.floats(0, 1e4), TOKENS, TOKENS, TOKENS)
def test_a_cost_is_never_negative_and_never_more_without_a_discount(
    full: float, cached: float, prompt: int, num_cached: int, completion: int
) -> None:
    def cost(price: Price) -> float:
        return cost_usd(price, prompt, num_cached, completion, is_batch=False)

    dear, cheap = max(full, cached), min(full, cached)
    assert (
        0
        <= cost(Price(input=dear, cached_input=cheap, output=full))
        <= cost(Price(input=dear, output=full)) * (1 + 1e-9)
    )
