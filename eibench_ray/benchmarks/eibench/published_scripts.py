"""Reads from a published script's syntax tree what it sends. Nothing here runs or imports the script."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from eibench_ray.datasets.format_template import from_literal
from eibench_ray.datasets.prompts_file import SourcePrompt, SourceSampling, bounded_rule
from eibench_ray.rows.request import AcceptRule

_SAMPLING_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
}
_MOST = 2**31  # no decoding parameter is larger
_QUESTION_NAMES = frozenset({"question", "data_input", "prompt"})
_RECORD_NAMES = frozenset({"data_input", "record"})
_REFERENCE_NAMES = frozenset({"label", "gt", "reference", "ground_truth"})

N = TypeVar("N", bound=ast.AST)
Placeholder = Callable[[ast.expr], str | None]  # the placeholder that stands for an expression in an f-string


class ScriptError(ValueError):
    """A script that cannot be read, or that lacks the part that is looked for."""


def parse_script(file: Path) -> ast.Module:
    """The syntax tree of a script.

    Raises:
        ScriptError: it cannot be read as Python.
    """
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
        for constant in _nodes(tree, ast.Constant):
            str(constant.value).encode()  # an escape may name half a surrogate pair, which no file can hold
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:  # MemoryError: too many brackets
        raise ScriptError(f"it cannot be read as Python ({' '.join(str(error).split())})") from error
    return tree


def read_judge(tree: ast.Module) -> SourcePrompt:
    """Reads from a judge's script what it sends, and which replies it accepts.

    Raises:
        ScriptError: no text has both a record and a reference.
    """
    texts = [text for text in _built_texts(tree) if "{record}" in text and "{reference}" in text]
    if not texts:
        raise ScriptError("no prompt in it has both a record and a reference")
    return SourcePrompt(_system_text(tree), texts[-1], read_sampling(tree), _accept_rule(tree), _model_name(tree))


def read_questions(tree: ast.Module) -> list[str]:
    """The texts with which a baseline asks its model about an emotion, in the order in which they stand."""
    texts = (_to_text(node, _question_placeholder, {}) for node in _nodes(tree, ast.JoinedStr))
    return [text for text in texts if text and text.count("{question}") == 1 and "emotion" in text.lower()]


def read_sampling(tree: ast.Module) -> SourceSampling:
    """The decoding parameters: what a call says, else a function's default, else a command-line option's default."""
    found: dict[str, int | float] = {}
    for name, value in (*_call_arguments(tree), *_parameter_defaults(tree), *_option_defaults(tree)):
        number = _constant(value)
        if name in _SAMPLING_NAMES and isinstance(number, int | float) and _can_be(_SAMPLING_NAMES[name], number):
            found.setdefault(_SAMPLING_NAMES[name], number)
    temperature, top_p, max_tokens = (found.get(name) for name in ("temperature", "top_p", "max_tokens"))
    return SourceSampling(
        None if temperature is None else float(temperature),
        None if top_p is None else float(top_p),
        None if max_tokens is None else int(max_tokens),
    )


def _can_be(name: str, number: float) -> bool:
    """Whether a decoding parameter can have this value."""
    match name:
        case "temperature":
            return 0 <= number < _MOST
        case "top_p":
            return 0 < number <= 1
        case _:
            return 1 <= number < _MOST


def _nodes(tree: ast.AST, kind: type[N]) -> list[N]:
    """All nodes of a kind in the order of the script; `ast.walk` alone goes by depth."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, kind)]
    return sorted(nodes, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))


def _constant(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _to_text(node: ast.expr, placeholder: Placeholder, variables: dict[str, str]) -> str | None:
    """The `str.format` text of an expression made of strings, f-strings and sums of them; None for any other."""
    match node:
        case ast.Constant(value=str(literal)):
            return from_literal(literal)
        case ast.Name(id=name):
            return variables.get(name)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            name_or_none = placeholder(value)
            return None if name_or_none is None else f"{{{name_or_none}}}"
        case ast.JoinedStr(values=parts):
            return _concatenate(parts, placeholder, variables)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _concatenate([left, right], placeholder, variables)
    return None


def _concatenate(parts: list[ast.expr], placeholder: Placeholder, variables: dict[str, str]) -> str | None:
    texts = [_to_text(part, placeholder, variables) for part in parts]
    known = [text for text in texts if text is not None]
    return "".join(known) if len(known) == len(texts) else None


def _built_texts(tree: ast.Module) -> Iterator[str]:
    """Every text that the script builds in a variable, after each assignment to it."""
    variables: dict[str, str] = {}
    for node in _nodes(tree, ast.stmt):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                text = _to_text(value, _judge_placeholder, variables)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=ast.Add(), value=value):
                text = _concatenate([target, value], _judge_placeholder, variables)
            case _:
                continue
        variables.pop(name, None)
        if text is not None:
            variables[name] = text
            yield text


def _judge_placeholder(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) if name in _RECORD_NAMES:
            return "record"
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in _REFERENCE_NAMES:
            return "reference"
    return None


def _question_placeholder(node: ast.expr) -> str | None:
    return "question" if isinstance(node, ast.Name) and node.id in _QUESTION_NAMES else None


def _system_text(tree: ast.Module) -> str | None:
    for node in _nodes(tree, ast.Dict):
        message = {_constant(key): _constant(value) for key, value in zip(node.keys, node.values, strict=True)}
        content = message.get("content")
        if message.get("role") == "system" and isinstance(content, str):
            return from_literal(content)
    return None


def _accept_rule(tree: ast.Module) -> AcceptRule | None:
    for node in _nodes(tree, ast.Compare):
        contains = _constant(node.left)
        if isinstance(contains, str) and isinstance(node.ops[0], ast.In | ast.NotIn):
            reply = node.comparators[0]
            ignore_case = isinstance(reply, ast.Call) and getattr(reply.func, "attr", None) == "lower"
            return bounded_rule(contains, ignore_case, *_last_attempt(tree))
    return None


def _last_attempt(tree: ast.Module) -> tuple[int | None, str | None]:
    """Number of attempts of the script, and the reply that it then takes: `if i == 4: output = "..."` is the fifth."""
    for node in _nodes(tree, ast.If):
        match node:
            case ast.If(
                test=ast.Compare(left=ast.Name(), ops=[ast.Eq()], comparators=[ast.Constant(value=int(last))]),
                body=[ast.Assign(value=ast.Constant(value=str(reply))), *_],
            ):
                return last + 1, reply
    return None, None


def _model_name(tree: ast.Module) -> str | None:
    for name, value in (*_call_arguments(tree), *_parameter_defaults(tree)):
        model = _constant(value)
        if name == "model" and isinstance(model, str):
            return model
    return None


def _call_arguments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for call in _nodes(tree, ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)


def _parameter_defaults(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for function in _nodes(tree, ast.FunctionDef):
        defaults = function.args.defaults
        parameters = function.args.args[len(function.args.args) - len(defaults) :]
        yield from ((parameter.arg, default) for parameter, default in zip(parameters, defaults, strict=True))


def _option_defaults(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for call in _nodes(tree, ast.Call):
        option = _constant(call.args[0]) if call.args else None
        if isinstance(option, str) and getattr(call.func, "attr", None) == "add_argument":
            name = option.lstrip("-").replace("-", "_")
            yield from ((name, keyword.value) for keyword in call.keywords if keyword.arg == "default")
