"""The script that draws charts is made once per version and user, and taken only where it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from eibench_ray.report.charts import vega_bundle
from eibench_ray.report.charts.vega_bundle import read_bundle


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """Scripts that were made instead of the real one; the cache is empty."""
    scripts: list[bytes] = []

    def make() -> bytes:
        scripts.append(b"draw('\xc3\xa9')")
        return scripts[-1]

    monkeypatch.setattr(vega_bundle, "_make_bundle", make)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return scripts


def cached(folder: Path) -> Path:
    (path,) = (folder / "eibench_ray").iterdir()
    return path


def test_it_is_made_once(made: list[bytes], tmp_path: Path) -> None:
    assert read_bundle() == read_bundle() == "draw('é')"
    assert len(made) == 1
    assert cached(tmp_path).read_bytes() == made[0]


def test_a_damaged_one_is_made_again(made: list[bytes], tmp_path: Path) -> None:
    read_bundle()
    cached(tmp_path).write_bytes(made[0][:-1])
    assert read_bundle() == "draw('é')"
    assert cached(tmp_path).read_bytes() == made[0]


def test_another_version_has_its_own(made: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read_bundle()
    monkeypatch.setattr(vega_bundle, "version", lambda _: "99.0")
    read_bundle()
    assert len(made) == len(list((tmp_path / "eibench_ray").iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_time_alone(
    made: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert read_bundle() == read_bundle() == "draw('é')"
    assert len(made) == 2
