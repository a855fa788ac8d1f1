"""Bounds on the work and the memory that a prompt may take to render: a template is a program.

A rendering has a budget of steps (loops, calls, filters, comparisons) and of characters that these read and make. What
can grow out of a small template (`'a' * 10**9`, `|center(10**9)`, `'%999999999d'`) is bounded before it is made, the
rest as it is made. So no clock is needed: a step takes as long as it has characters to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import Environment, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

MAX_CHARS = 16_000_000  # that one rendering reads and makes; a context of a million tokens has a quarter of it
MAX_STEPS = 1_000_000
MAX_WIDTH = 100_000  # that a text may be padded to
_MAX_BITS = 10_000  # of a number: a million products of two take seconds

OPERATORS = frozenset({"*", "**", "%", "+"})
_TAKE_ANY_NUMBER = frozenset({"default", "d", "int", "float", "sum"})
_SIZED = (str, bytes, list, tuple, dict)
_WIDTH = re.compile(r"\d{6,}|\*|:[^{}]*\{")  # in a text that formats others; "*" and "{" take it from a value


class TemplateBoundError(SecurityError):
    """A prompt that would take too long, or too much memory, to render."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"it makes {what}: a prompt may read and make {MAX_CHARS:,} characters, pad to {MAX_WIDTH:,} and take "
            f"{MAX_STEPS:,} steps"
        )


class _Budget:
    """The characters and steps that are left to one rendering."""

    def __init__(self) -> None:
        self.chars, self.steps = MAX_CHARS, MAX_STEPS


_budget: ContextVar[_Budget] = ContextVar("budget")  # of each thread, so that several may render


def renew_budget() -> None:
    """Begins another rendering in this thread."""
    _budget.set(_Budget())


def tick(num_chars: int = 0) -> str:
    """Counts one step, and the text that it takes; an empty text, so that it can stand anywhere.

    Raises:
        TemplateBoundError: nothing is left for it.
    """
    budget = _budget.get()
    budget.steps -= 1
    budget.chars -= num_chars
    if budget.chars < 0:
        raise TemplateBoundError("too long a text")
    if budget.steps < 0:
        raise TemplateBoundError("too many steps")
    return ""


def counted(elements: Iterable[Any], num_chars: int) -> Iterator[Any]:
    """The elements of a loop, each a step with so many characters of text around it."""
    for element in elements:
        tick(num_chars)
        yield element


def count(value: Any) -> Any:
    """The value, once it and all that is in it have been taken off what is left."""
    tick(len(value) if isinstance(value, _SIZED) else 0)
    if isinstance(value, list | tuple | dict):
        for item in value if not isinstance(value, dict) else (*value, *value.values()):
            if isinstance(item, _SIZED):
                count(item)
    elif isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise TemplateBoundError("too large a number")
    return value


def show(value: Any) -> str:
    """The text of a value that a prompt puts out."""
    text = value if type(value) is str else str(value)
    tick(len(text))
    return text


def concat(*values: Any) -> str:
    """The texts of `a ~ b`."""
    return "".join([show(value) for value in values])


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Raises a TemplateBoundError where the result of an operation is too large to be made."""
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


def call_method(called: Any, arguments: Sequence[Any]) -> str | None:
    """The result of `' '.join(items)`; None for another call, or a TemplateBoundError if its result is too large."""
    of, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if not isinstance(of, str | bytes | int | float):
        return None
    count(of)
    if isinstance(of, str) and name == "join" and len(arguments) == 1:
        return _join_texts(of, arguments[0])
    if isinstance(of, str) and name == "replace" and len(arguments) > 1:
        _check_replace(of, str(arguments[0]), str(arguments[1]))
    else:
        _check_numbers(arguments)
    return None


def bound_format(text: str, function: Callable[..., str]) -> Callable[..., str]:
    """The method `format` or `format_map` of a text, which pads within bounds."""

    def bounded(*arguments: Any, **named: Any) -> str:
        _check_format(text, [value for argument in (*arguments, named) for value in _inner(argument)])
        return function(*arguments, **named)

    return bounded


def bound_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters, each within these bounds."""
    return {name: _bound(name, function) for name, function in {**filters, "join": _join}.items()}


class NodeBounds(NodeTransformer):
    """Rewrites a template so that its loops, comparisons, slices and `~` count what they take."""

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

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        node = self.generic_visit(node)  # type: ignore[assignment]
        node.expr = _call("bounded_count", [node.expr])
        for operand in node.ops:
            operand.expr = _call("bounded_count", [operand.expr])
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        node = self.generic_visit(node)  # type: ignore[assignment]
        if node.args:  # it compares
            node.args = [_call("bounded_count", [arg]) for arg in node.args]
            node.node = _call("bounded_count", [node.node])
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        node = self.generic_visit(node)  # type: ignore[assignment]
        return _call("bounded_count", [node]) if isinstance(node.arg, nodes.Slice) else node


def _call(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _reserve(num_chars: int) -> None:
    if num_chars > _budget.get().chars:
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
        given = [count(value) for value in arguments if not isinstance(value, EvalContext | Context | Environment)]
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
    return _join_texts(str(d), (str(get(item)) for item in value))


def _join_texts(separator: str, texts: Iterable[str]) -> str:
    parts = []
    for text in texts:
        tick(len(text) + len(separator))
        parts.append(text)
    return separator.join(parts)
