"""Mutation testing: small faults planted in a package, one at a time, each to be found by the package's own tests.

    python bench/mutations.py plan [--num 40] [--seed 1] [--only 3,17]

Faults are drawn evenly over the package's lines, and planted in a copy of the repository. Prints a line per fault. One
that survives may change nothing that can be seen: that is for a person to judge. Takes minutes to hours.
"""

from __future__ import annotations

import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parent.parent
SWAPPED = [
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn),
    (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod), (ast.BitAnd, ast.BitOr),
]  # fmt: skip
SWAPS = {one: other for pair in SWAPPED for one, other in (pair, pair[::-1])}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A node of a file, and what is to stand in its place."""

    file: Path
    tree: ast.Module
    line: int
    old: ast.AST
    new: ast.AST

    def __str__(self) -> str:
        shown = [ast.unparse(node).split("\n")[0][:70] for node in (self.old, self.new)]
        return f"{self.file.name}:{self.line}: {shown[0]}  ->  {shown[1]}"

    def source(self) -> str:
        """The file's text with the fault."""
        _Planter(self.old, self.new).visit(self.tree)
        text = ast.unparse(self.tree)
        _Planter(self.new, self.old).visit(self.tree)
        return text


class _Planter(ast.NodeTransformer):
    """Puts a node in place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self._new if node is self._old else self.generic_visit(node)


def altered(old: ast.AST, rng: random.Random) -> ast.AST | None:
    """A node with a small fault, or None where nothing is known to go wrong with such a node."""
    new: Any = copy.deepcopy(old)
    match old:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            new.ops = [SWAPS[type(op)]()]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            new.op = SWAPS[type(op)]()
        case ast.UnaryOp(op=ast.Not()):
            new = old.operand
        case ast.Constant(value=bool()):
            new.value = not new.value
        case ast.Constant(value=int() | float()):
            new.value += rng.choice((-1, 1))
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            new.func.id = CALLS[name]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return None
        case ast.If() | ast.IfExp():
            new.test = ast.UnaryOp(ast.Not(), new.test)
        case ast.comprehension(ifs=[_, *rest]):
            new.ifs = rest
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant) or value.value is not None:
            new.value = ast.Constant(None)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):  # a name without its value fails at once
            new = ast.Pass()
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            new = ast.Pass()
        case _:
            return None
    placed: ast.AST = ast.fix_missing_locations(ast.copy_location(new, old))
    return placed


def nodes_of(node: ast.AST, line: int = 1) -> Iterator[tuple[int, ast.AST]]:
    """A tree's nodes but annotations and decorators, with the line that each stands in."""
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in ("annotation", "returns", "decorator_list"):
                at = getattr(child, "lineno", line)
                yield at, child
                yield from nodes_of(child, at)


def draw_faults(package: Path, num: int, seed: int) -> list[Fault]:
    """Faults at places that are spread evenly over a package's lines, always the same for a seed."""
    rng, lines = random.Random(seed), []
    for file in sorted(package.rglob("*.py")):
        tree, found = ast.parse(file.read_text()), dict[int, list[Fault]]()
        for line, old in nodes_of(tree):
            if (new := altered(old, rng)) is not None:
                found.setdefault(line, []).append(Fault(file, tree, line, old, new))
        lines += [found[line] for line in sorted(found)]
    step = len(lines) / num
    start = rng.random() * step
    return [rng.choice(lines[int(start + place * step)]) for place in range(num)]


def main(package: str, num: int = 40, seed: int = 1, only: str = "") -> None:
    """Plants each fault and runs the package's tests."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "repository"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        (Path(folder) / "shared").symlink_to(ROOT.parent / "shared")
        faults = draw_faults(tree / "eibench_ray" / package, num, seed)
        wanted = [int(number) for number in only.split(",")] if only else range(1, num + 1)
        # No compiled files: their times are too coarse to tell one fault from the next.
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=120", f"tests/{package}"]
        survived = 0
        for number in wanted:
            fault = faults[number - 1]
            before = fault.file.read_text()
            fault.file.write_text(fault.source())
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
            fault.file.write_text(before)
            survived += done.returncode == 0
            print(number, "survived" if done.returncode == 0 else "found", fault, flush=True)
        print(f"{len(wanted) - survived} of {len(wanted)} were found")


if __name__ == "__main__":
    typer.run(main)
