"""Every fuzz target on its seeds and on damaged copies of them; `make fuzz` goes on where these few examples end."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

TOKENS = (b"{", b"[", b'"', b"\\ud800", b"null", b"-1", b"1e999", b"\n", b"\xff", b"\x00", b"=", b"${x}", b"'", b"../")
EXAMPLES = {"command": 6, "option_file": 6, "protocol": 20}  # these take a tenth of a second each
SEEDS = {name: tuple(target.seeds()) for name, target in TARGETS.items()}


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with up to four pieces of it replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 4, 64)))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=8))
        data = data[:start] + piece + data[start + length :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_not_understood_is_refused_in_a_paragraph(name: str, tmp_path: Path) -> None:
    for seed in SEEDS[name]:
        TARGETS[name].check(seed, tmp_path)

    @settings(max_examples=EXAMPLES.get(name, 40), database=None)
    @given(damaged(SEEDS[name]))
    def check(data: bytes) -> None:
        TARGETS[name].check(data, tmp_path)

    check()
