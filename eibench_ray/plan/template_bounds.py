"""Bounds on the time and the memory that a prompt may take to render: a template is a program.

Every loop, call, filter and text that is made draws from a budget per rendering. What can grow out of a small template
(`'a' * 10**9`, `|center(10**9)`, `'%999999999d'`) is bounded before it is made, the rest as it is made.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

from jinja2 import Environment, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

MAX_CHARS = 16_000_000  # of all texts of one rendering together; a context of a million tokens has a quarter of it
MAX_STEPS = 1_000_000  # loops, calls and filters
MAX_WIDTH = 100_000  # that a text may be padded to
MAX_SECONDS = 10.0
_STEPS_PER_LOOK = 256  # at the clock
_MAX_BITS = 100_000  # of a number

OPERATORS = frozenset({"*", "**", "%", "+"})
_TAKE_ANY_NUMBER = frozenset({"default", "d", "int", "float", "sum"})
_WIDTH = re.compile(r"\d{6,}|\*|:[^{}]*\{")  # in a text that formats others; "*" and "{" take it from a value


class TemplateBoundError(SecurityError):
    """A prompt that would take too long, or too much memory, to render."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"it makes {what}: a prompt may make {MAX_CHARS:,} characters, pad to {MAX_WIDTH:,}, take {MAX_STEPS:,} "
            f"steps and {MAX_SECONDS:g} s"
        )


class _Budget:
    """What is left to one rendering."""

    __slots__ = ("chars", "steps", "until")

    def renew(self) -> None:
        """Begins another rendering."""
        self.chars, self.steps, self.until = MAX_CHARS, MAX_STEPS, time.monotonic() + MAX_SECONDS


class _Budgets(threading.local):
    """Each thread's, so that several may render."""

    def __init__(self) -> None:
        self.own = _Budget()
        self.own.renew()


_budgets = _Budgets()


def renew_budget() -> None:
    """Begins another rendering in this thread."""
    _budgets.own.renew()


def tick(num_chars: int = 0) -> str:
    """Counts one step, and the text that stands in it; an empty text, so that it can stand anywhere.

    Raises:
        TemplateBoundError: nothing is left for it.
    """
    budget = _budgets.own
    budget.steps -= 1
    budget.chars -= num_chars
    if budget.chars < 0:
        raise TemplateBoundError("too long a text")
    if budget.steps < 0:
        raise TemplateBoundError("too many steps")
    if not budget.steps % _STEPS_PER_LOOK and time.monotonic() > budget.until:
        raise TemplateBoundError("steps that take too long")
    return ""


class _Counted:
    """What a loop goes over, each element a step."""

    __slots__ = ("_elements", "_num_chars")

    def __init__(self, elements: Any, num_chars: int) -> None:
        self._elements = elements
        self._num_chars = num_chars

    def __iter__(self) -> Iterator[Any]:
        num_chars = self._num_chars
        for element in self._elements:
            tick(num_chars)
            yield element

    def __len__(self) -> int:
        return len(self._elements)


def counted(elements: Any, num_chars: int) -> Iterable[Any]:
    """The elements, each a step with so many characters of text around it."""
    given = _Counted(elements, num_chars)
    return given if hasattr(elements, "__len__") else iter(given)


def count(value: Any) -> Any:
    """The value, once its size has been taken off what is left."""
    if isinstance(value, str | bytes | list | tuple | dict):
        _take(len(value))
    elif isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise TemplateBoundError("too large a number")
    return value


def show(value: Any) -> str:
    """The text of a value that a prompt puts out."""
    text = value if type(value) is str else str(value)
    _take(len(text))
    return text


def concat(*values: Any) -> str:
    """The texts of `a ~ b`."""
    return "".join([show(value) for value in values])


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Passes an operation whose result is small enough to be made.

    Raises:
        TemplateBoundError: it is not.
    """
    tick()
    if operator == "%":
        if isinstance(left, str | bytes):
            _check_format(left, right if isinstance(right, tuple) else (right,))
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise TemplateBoundError("too large a number")
    elif operator == "*":
        sized, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(times, int) and hasattr(sized, "__len__"):
            _reserve(len(sized) * times)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        _reserve(len(left) + len(right))


def check_call(called: Any, arguments: Sequence[Any]) -> None:
    """Passes a call of a text's or a number's own methods whose result is small enough to be made.

    Raises:
        TemplateBoundError: it is not.
    """
    tick()
    of = getattr(called, "__self__", None)
    if not isinstance(of, str | bytes | int | float):
        return
    if isinstance(of, str) and getattr(called, "__name__", "") == "replace" and len(arguments) > 1:
        _check_replace(of, str(arguments[0]), str(arguments[1]))
    else:
        _check_numbers(arguments)


def join_items(called: Any, arguments: Sequence[Any]) -> str | None:
    """What `' '.join(items)` gives; None where something else is called."""
    of = getattr(called, "__self__", None)
    if not isinstance(of, str) or getattr(called, "__name__", "") != "join" or len(arguments) != 1:
        return None
    parts = []
    for item in arguments[0]:
        tick(len(item) + len(of))
        parts.append(item)
    return of.join(parts)


def bound_format(text: str, function: Callable[..., str]) -> Callable[..., str]:
    """The method `format` or `format_map` of a text, which pads within bounds."""

    def bounded(*arguments: Any, **named: Any) -> str:
        values = [value for argument in (*arguments, named) for value in _inner(argument)]
        _check_format(text, values)
        return function(*arguments, **named)

    return bounded


def bound_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters, each within these bounds."""
    return {name: _bound(name, function) for name, function in {**filters, "join": _join}.items()}


def bound_nodes(template: nodes.Template) -> nodes.Template:
    """A template whose loops count their steps and whose `~` counts its texts."""
    bound: nodes.Template = _Bounding().visit(template)
    return bound


class _Bounding(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:
        node = self.generic_visit(node)  # type: ignore[assignment]
        size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        if node.recursive:  # it goes over what its calls are given
            node.body.insert(0, nodes.ExprStmt(_call("bounded_tick", [nodes.Const(size)])))
        else:
            node.iter = _call("counted", [node.iter, nodes.Const(size)])  # type: ignore[list-item]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        node = self.generic_visit(node)  # type: ignore[assignment]
        return _call("bounded_concat", node.nodes)


def _call(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _take(num_chars: int) -> None:
    budget = _budgets.own
    budget.chars -= num_chars
    if budget.chars < 0:
        raise TemplateBoundError("too long a text")


def _reserve(num_chars: int) -> None:
    if num_chars > _budgets.own.chars:
        raise TemplateBoundError("too long a text")


def _check_format(text: str | bytes, values: Sequence[Any]) -> None:
    found = _WIDTH.findall(text if isinstance(text, str) else text.decode("latin-1"))
    if any(width.isdigit() and int(width) > MAX_WIDTH for width in found):
        raise TemplateBoundError("too wide a text")
    if any(not width.isdigit() for width in found):
        _check_numbers(values)
    _reserve(len(text))


def _check_numbers(values: Sequence[Any]) -> None:
    if any(isinstance(value, int) and abs(value) > MAX_WIDTH for value in values):
        raise TemplateBoundError("too wide a text")


def _check_replace(text: str, old: str, new: str) -> None:
    _reserve(len(text) + (text.count(old) if old else len(text) + 1) * len(new))


def _inner(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else [value]


def _bound(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # what Jinja hands to it is noted at the function
    def bounded(*arguments: Any, **named: Any) -> Any:
        tick()
        given = [value for value in arguments if not isinstance(value, EvalContext | Context | Environment)]
        others = [*given[1:], *named.values()]
        if name == "format" and given:
            _check_format(str(given[0]), [value for one in others for value in _inner(one)])
        elif name == "replace" and len(given) > 2:
            _check_replace(str(given[0]), str(given[1]), str(given[2]))
        elif name not in _TAKE_ANY_NUMBER:
            _check_numbers(others)
        return count(function(*arguments, **named))

    return bounded


@pass_environment
def _join(environment: Environment, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's `join`, which counts as it goes."""
    get: Callable[[Any], Any] = str if attribute is None else make_attrgetter(environment, attribute)
    parts = []
    for item in value:
        parts.append(str(get(item)))
        tick(len(parts[-1]) + len(str(d)))
    return str(d).join(parts)
