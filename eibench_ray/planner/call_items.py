"""The items of a call that is asked once for each."""

from __future__ import annotations

from collections.abc import Iterator

from eibench_ray.config.setting import CallConfig, LinesConfig
from eibench_ray.plan.fanout import Item, part_word


def expand(call: CallConfig) -> Iterator[tuple[str, Item | None]]:
    """The steps of a call: their words, and what each is about; None where the call is asked once."""
    if call.each is None:
        yield call.name, None
        return
    if isinstance(call.each, LinesConfig):
        items = [Item(source=call.each.call, line=number) for number in range(1, call.each.lines + 1)]
    else:
        items = [Item(text) for text in call.each]
    yield from ((part_word(call.name, number), item) for number, item in enumerate(items, start=1))
