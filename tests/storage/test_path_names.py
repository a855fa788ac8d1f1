"""Names and the paths they become: one to one, on every file system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_back import export_run

from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.storage.path_names import path_names

if TYPE_CHECKING:
    from conftest import Sweeps

HOSTILE = [
    *("org/m", "org.m", "org\\m", "org:m", "Llama", "llama", "LLAMA", "007", "7", "2024-05-13", "true", "null", "1e5"),
    *(
        ".",
        "..",
        "...",
        "a.",
        "a ",
        " a",
        ".hidden",
        "con",
        "CON",
        "nul.txt",
        "com1",
        "a=b",
        "model=x",
        "a%2Fb",
        "a*b?",
    ),
    *("é", "e\u0301", "日本", "\U0001f382", "a\nb", "a\x1b[2Jb", "x" * 180, "x" * 181, "X" * 181, "x" * 300, "é" * 120),
    *("__HIVE_DEFAULT_PARTITION__", "~", "a~b", "'", '"', "[/b]", "</script>"),
]
TEXTS = st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=12)


def check(names: list[str]) -> None:
    paths = path_names((name,) for name in names)
    assert len({path.casefold() for path in paths.values()}) == len(set(names))
    for (name,), path in paths.items():
        assert len(path.encode()) <= 180
        assert path.isascii()
        assert path.isprintable()
        assert path.strip(". ") == path
        assert not set(path) & set('/\\:*?"<>|=')
        assert "~" in path or unquote(path, errors="surrogatepass") == name


def test_hostile_names_have_each_a_path_of_its_own() -> None:
    check(HOSTILE)


@given(TEXTS)
def test_any_names_have_each_a_path_of_its_own(names: list[str]) -> None:
    check(names)


@given(st.lists(st.tuples(st.text("aA./%", max_size=3), st.text("aA./%", max_size=3)), unique=True, max_size=20))
def test_keys_of_several_parts_have_each_a_path_of_its_own(keys: list[tuple[str, str]]) -> None:
    assert len({path.casefold() for path in path_names(keys).values()}) == len(keys)


def test_plain_names_stay_as_they_are() -> None:
    names = ["llava_next_7b", "Qwen2.5-VL", "with a space"]
    assert list(path_names((name,) for name in names).values()) == names


@pytest.mark.parametrize("judge", ["2024-05-13"])
def test_names_come_back_as_text_where_polars_reads_the_export(sweeps: Sweeps, tmp_path: Path, judge: str) -> None:
    names = ["org/m", "org.m", "Llama", "llama", "007", "2024-05-14", "true", "a b", "x" * 200, "é"]
    sweeps.write_dataset()
    configs = [sweeps.config(model={"name": name}) for name in names]
    configs = [
        config.model_copy(
            update={"judge": config.judge.model_copy(update={"name": judge}), "sweep": "007"},
        )
        for config in configs
    ]
    sweep = sweeps.plan(*configs)
    sweeps.ask(sweep)
    manifest = new_manifest(sweep.plan, tmp_path / "run", sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(tmp_path / "run")
    counts = export_run(tmp_path / "run", tmp_path / "out")
    rows = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=True).collect()
    assert counts["rows"] == rows.height == 10 * len(names)
    short = [name for name in names if len(name) <= 180]
    assert rows["model"].dtype == rows["judge"].dtype == pl.String
    assert set(short) < set(rows["model"])
    assert set(rows["judge"]) == {judge}
    whole = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=False).collect()
    assert set(whole["model"]) == set(names)
    assert len(list((tmp_path / "out" / "eibench").glob("*.answers.jsonl"))) == len(names)
