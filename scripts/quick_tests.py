"""Prints the tests of `make test-quick`: those of the pure core, and those of the modules that have changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Two minutes of CPU on a busy machine, one on two cores: what a result is worth, who is asked what, and in which order.
CORE = (
    "tests/benchmarks",
    "tests/estimate",
    "tests/plan",
    "tests/ratelimit",
    "tests/rows",
    "tests/schedule",
    "tests/scoring",
    "tests/terminal",
    "tests/goldens/test_identities.py",
    "tests/goldens/test_rows.py",
    "tests/test_names.py",
)
# So many files more of tests that a change concerns; a module that all import would bring them all.
MOST_FILES = 4
# What starts Ray, or takes more than 30 s of CPU, and is not marked `slow` in all its tests.
LONG = (
    "tests/cli/test_errors.py",
    "tests/cli/test_hydra.py",
    "tests/cli/test_init_command.py",
    "tests/cli/test_live_view.py",
    "tests/cli/test_rule_judges.py",
    "tests/cli/test_run.py",
    "tests/cli/test_self_ask.py",
    "tests/config/test_options.py",
    "tests/documents/test_commands_in_pages.py",
    "tests/driver/",
    "tests/endpoints/",
    "tests/engines/openai/test_batch_engine.py",
    "tests/engines/openai/test_openai_engine.py",
    "tests/engines/openai/test_silence.py",
    "tests/inspect/",
    "tests/outside/",
    "tests/serve/",
    "tests/slurm/",
    "tests/submit/",
    "tests/test_api.py",
    "tests/test_installed.py",
    "tests/test_wheel.py",
)


def changed_files() -> list[str]:
    """Paths that differ from main, or from the last commit where that is main, and those that git does not know yet."""
    base = _git("merge-base", "HEAD", "main") or ["HEAD"]
    return sorted({*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")})


def concerned(changed: list[str]) -> Iterator[str]:
    """Files of tests that changed, then those named after a changed module, then those that import one."""
    tests = sorted(ROOT.glob("tests/**/test_*.py"))
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in tests}
    yield from (name for name in changed if name in texts)
    modules = [
        Path(name).with_suffix("") for name in changed if name.endswith(".py") and name.startswith("eibench_ray/")
    ]
    for module in modules:
        yield from (name for name in texts if Path(name).name.startswith(f"test_{module.name}"))
    for module in modules:
        dotted = ".".join(module.parts)
        yield from (name for name, text in texts.items() if f"{dotted} import" in text or f"import {dotted}" in text)


def _git(*arguments: str) -> list[str]:
    """The lines that git prints; none where there is no repository, or no main."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1]


def main() -> None:
    """Prints the paths, and says on stderr which files of tests are left to `make test`."""
    found = [name for name in dict.fromkeys(concerned(changed_files())) if not name.startswith(CORE)]
    chosen = [name for name in found if not name.startswith(LONG)][:MOST_FILES]
    if left := [name for name in found if name not in chosen]:
        sys.stderr.write(f"left to `make test`: {' '.join(left)}\n")
    sys.stdout.write("\n".join([*CORE, *chosen]) + "\n")


if __name__ == "__main__":
    main()
