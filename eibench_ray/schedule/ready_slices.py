"""The slices of one engine that can be asked now, in the order in which they are to be asked.

Steps whose prompts begin alike are asked side by side, row by row, and not one after the other: a judge is told the
same of a sample each time, and a model shown the same picture, and an engine that has just read it does not do so again
(vLLM and many endpoints keep what prompts begin with). So their slices over the same rows are a block, and a replica
goes on with its own as long as there are some.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eibench_ray.plan.graph import Step
from eibench_ray.plan.slices import Slice


class StepGroup(NamedTuple):
    """Steps of one engine whose requests about a sample begin alike; they are asked side by side.

    Attributes:
        depth: how many steps at most wait for one of them, one after the other.
        adapter: that their requests name: what is read with one is of no use with another.
        has_picture: whether they show the sample's picture, which comes before the words.
        words: of their prompts, up to what the sample decides first; of those with a picture, the system's alone.
    """

    depth: int
    adapter: str | None
    has_picture: bool
    words: str

    @classmethod
    def of(cls, step: Step, depth: int) -> StepGroup:
        """A step's group."""
        prompt = step.prompt
        head, decided, _ = prompt.user.partition("}}")
        words = (prompt.system or "") + ("" if prompt.image else head + decided)
        return cls(depth, step.adapter, prompt.image, words)


_Block = tuple[str, int]  # a dataset, and the row at which its slices start
_Blocks = OrderedDict[_Block, list[Slice]]


@dataclass(slots=True)
class _GroupQueue:
    """The ready slices of a group by their block, blocks in the order in which they became ready."""

    fresh: _Blocks = field(default_factory=OrderedDict)  # those of which nothing is in flight
    begun: _Blocks = field(default_factory=OrderedDict)
    in_flight: Counter[_Block] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)  # of the ready slices


class ReadySlices:
    """See above.

    Args:
        steps: the plan's, by id.
        depths: of each, how many steps at most wait for it, one after the other.
    """

    def __init__(self, steps: Mapping[str, Step], depths: Mapping[str, int]) -> None:
        self._steps, self._depths = steps, depths
        self._groups: dict[str, StepGroup] = {}  # of the steps that were met
        self._queues: dict[StepGroup, _GroupQueue] = defaultdict(_GroupQueue)

    def __iter__(self) -> Iterator[Slice]:
        for queue in self._queues.values():
            for slices in (*queue.begun.values(), *queue.fresh.values()):
                yield from slices

    def add(self, slice_: Slice, *, is_first: bool = False) -> None:
        """A slice can be asked now: its block comes after the others that are there, or before them."""
        queue, block = self._find(slice_)
        blocks = queue.begun if queue.in_flight[block] else queue.fresh
        blocks.setdefault(block, []).append(slice_)
        queue.steps[slice_.step] += 1
        if is_first:
            blocks.move_to_end(block, last=False)

    def take(self, tokens_per_row: Callable[[str], float], beside: Slice | None = None) -> Slice:
        """The slice to be asked next.

        Of the group on which the longest chain of steps waits, and of equals of that with the longest replies: the
        longest of the block of `beside`, which the replica was given last; else of a block of which nothing is in
        flight, and where there is none, of any.
        """
        asked = [group for group, queue in self._queues.items() if queue.steps]
        group = asked[0] if len(asked) == 1 else max(asked, key=lambda one: self._rank(one, tokens_per_row))
        queue = self._queues[group]
        blocks = queue.fresh or queue.begun
        block = next(iter(blocks))
        if beside is not None and self._group(beside) == group:
            own = self._block(beside)
            for each in (queue.begun, queue.fresh):
                if own in each:
                    blocks, block = each, own
        slice_ = max(blocks[block], key=lambda one: tokens_per_row(one.step))
        blocks[block].remove(slice_)
        if not blocks[block]:
            del blocks[block]
        queue.steps[slice_.step] -= 1
        if not queue.steps[slice_.step]:
            del queue.steps[slice_.step]
        return slice_

    def hold(self, slice_: Slice) -> None:
        """A slice is in flight from now on."""
        queue, block = self._find(slice_)
        queue.in_flight[block] += 1
        if slices := queue.fresh.pop(block, None):
            queue.begun[block] = slices

    def release(self, slice_: Slice) -> None:
        """A slice is in flight no more."""
        queue, block = self._find(slice_)
        queue.in_flight[block] -= 1
        if not queue.in_flight[block]:
            del queue.in_flight[block]
            if slices := queue.begun.pop(block, None):
                queue.fresh[block] = slices
                queue.fresh.move_to_end(block, last=False)

    def clear(self) -> None:
        """None of them is to be asked any more."""
        for queue in self._queues.values():
            queue.fresh.clear()
            queue.begun.clear()
            queue.steps.clear()

    def _rank(self, group: StepGroup, tokens_per_row: Callable[[str], float]) -> tuple[int, float]:
        return group.depth, max(map(tokens_per_row, self._queues[group].steps))

    def _find(self, slice_: Slice) -> tuple[_GroupQueue, _Block]:
        return self._queues[self._group(slice_)], self._block(slice_)

    def _group(self, slice_: Slice) -> StepGroup:
        if (group := self._groups.get(slice_.step)) is None:
            step = self._steps[slice_.step]
            group = self._groups[slice_.step] = StepGroup.of(step, self._depths[step.id])
        return group

    def _block(self, slice_: Slice) -> _Block:
        return self._steps[slice_.step].dataset, slice_.start
