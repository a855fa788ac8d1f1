"""One name, one meaning: modules and classes stand once, the words are the field's, a benchmark's are its own."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import eibench_ray
from eibench_ray.config.engine_section import ENGINE_KINDS

PACKAGE = Path(eibench_ray.__file__).parent
REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

# Words that the field has other words for. Those of them that are English as well are looked for as classes only.
OLD_WORDS = [
    "turnstile",
    "toll",
    "purse",
    "funds",
    "crew",
    "fleet",
    "roster",
    "staffing",
    "membership",
    "lookout",
    "vigil",
    "patience",
    "inquest",
    "suspect",
    "condemned",
    "halt",
    "tally",
    "foresee",
    "foresight",
    "outlook",
    "obstacle",
    "wording",
    "swept",
    "reckon",
]
OLD_CLASSES = ("Gate", "Passage", "Course", "Member", "Standing", "Holding", "Outcome", "Places", "Trip")
BENCHMARK_WORDS = ("trigger", "emotion", "recall", "claim", "eibench")
# The package's own name is the benchmark's too; these are the package's: its modules, variables and files.
OWN_NAMES = re.compile(r"eibench[-_]ray[\w.]*|EibenchError|EIBENCH_[A-Z_]+|\.?eibench-(dataset|doctor)-", re.IGNORECASE)
# Names of plug-ins stand in the table that finds them; recall is F1's other half; W&B's project and MLflow's experiment
# have the package's name.
EXCUSED = ('"eibench": "', "precision and recall", 'project: Filled = "eibench"', 'experiment: Filled = "eibench"')
RIDDLES = ("What", "Who", "How", "Until", "Where")
OTHERS = ("bench", "hydra_plugins", "launch", "scripts", "slurm", "tests")


def test_every_module_name_stands_once() -> None:
    assert repeated((path.name, path) for path in MODULES) == {}


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Two of one name cannot be collected together."""
    tests = sorted(Path(__file__).parent.rglob("test_*.py"))
    assert repeated((path.name, path) for path in tests) == {}


def test_every_class_name_stands_once() -> None:
    assert repeated((name, path) for path in MODULES for name in read(path).classes) == {}


def test_no_old_word_is_left() -> None:
    texts = [*MODULES, *REPOSITORY.glob("conf/**/*.yaml"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "README.md"]
    assert find_words(texts, OLD_WORDS) == []


def test_no_class_has_an_old_name() -> None:
    assert [f"{place(path)}: {name}" for path in MODULES for name in read(path).classes if name in OLD_CLASSES] == []


def test_only_a_benchmark_knows_its_words() -> None:
    own = PACKAGE / "benchmarks" / "eibench"
    assert find_words([path for path in MODULES if own not in path.parents], BENCHMARK_WORDS) == []


def test_no_engine_kind_is_named_outside_its_folder() -> None:
    plugins = (PACKAGE / "engines", PACKAGE / "benchmarks" / "eibench")
    table = PACKAGE / "config" / "engine_section.py"
    names = {name for name in ENGINE_KINDS.builtin if name not in ("vllm", "transformers")}  # names of packages as well
    assert [
        f"{place(path)}:{line}: {text}"
        for path in MODULES
        if path != table and not any(folder in path.parents for folder in plugins)
        for line, text in read(path).texts
        if text in names
    ] == []


def test_docstrings_say_what_a_thing_does_or_returns() -> None:
    others = [path for folder in OTHERS for path in (REPOSITORY / folder).rglob("*.py")]
    assert [
        f"{place(path)}: {named}: {first}"
        for path in [*MODULES, *others]
        for named, first in read(path).first_words
        if first in RIDDLES
    ] == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("Roster", True),
        ("the_roster", True),
        ("rosters", True),
        ("class RosterState", True),
        ("ROSTER_SIZE", True),
        ("toll-free", True),
        ("atoll", False),
        ("tollway", False),
        ("extolled", False),
    ],
)
def test_a_word_is_found_in_names_and_in_sentences(text: str, is_found: bool, tmp_path: Path) -> None:
    (tmp_path / "text.py").write_text(text)
    assert bool(find_words([tmp_path / "text.py"], ["roster", "toll"])) is is_found


@dataclass(frozen=True, slots=True)
class Module:
    """Names and texts of a module.

    Attributes:
        classes: names of its classes.
        first_words: what has a docstring, and the docstring's first word.
        texts: its constants that are texts, by their lines.
    """

    classes: tuple[str, ...]
    first_words: tuple[tuple[str, str], ...]
    texts: tuple[tuple[int, str], ...]


@cache  # several tests look at each module; the trees themselves would be much to keep
def read(path: Path) -> Module:
    """A module's names and texts."""
    classes, first_words, texts = [], [], []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append((node.lineno, node.value))
        if isinstance(node, ast.ClassDef):
            classes.append(node.name)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first_words += [
                (getattr(node, "name", "module"), word) for word in (ast.get_docstring(node) or "").split()[:1]
            ]
    return Module(tuple(classes), tuple(first_words), tuple(texts))


def repeated(named: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names that stand more than once, and where."""
    found = defaultdict(list)
    for name, path in named:
        found[name].append(place(path))
    return {name: places for name, places in found.items() if len(places) > 1}


def find_words(paths: Iterable[Path], words: Sequence[str]) -> list[str]:
    """`file:line: word` for each word, alone, in the plural, or as a part of a name."""
    either = "|".join(words)
    titled = "|".join(word.capitalize() for word in words)
    pattern = re.compile(rf"(?<![A-Za-z])(?i:{either})s?(?![a-z])|(?:{titled})s?(?![a-z])")
    lowered = [word.lower() for word in words]
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        has_any = any(map(text.lower().__contains__, lowered))  # by the pattern, all files take 0.9 s
        for number, line in enumerate(text.splitlines() if has_any else (), start=1):
            if not any(excuse in line for excuse in EXCUSED):
                found += [f"{place(path)}:{number}: {hit[0]}" for hit in pattern.finditer(OWN_NAMES.sub("", line))]
        if hit := pattern.search(path.stem):
            found.append(f"{place(path)}: {hit[0]}")
    return found


def place(path: Path) -> str:
    """A path as one reads it."""
    return path.relative_to(REPOSITORY).as_posix() if path.is_relative_to(REPOSITORY) else path.name
