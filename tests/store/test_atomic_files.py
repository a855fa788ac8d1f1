"""Writes that are whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import read_json, replacing, write_json
from eibench_ray.storage.local import LOCAL


def write_half(file: Path) -> None:
    with replacing(file) as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})
    with pytest.raises(ZeroDivisionError):
        write_half(file)
    assert read_json(file) == {"old": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o027, 0o640)])
def test_a_write_makes_the_folders_and_a_file_that_those_can_read_whom_the_umask_lets(
    tmp_path: Path, umask: int, mode: int
) -> None:
    file = tmp_path / "a" / "b" / "c.json"
    before = os.umask(umask)
    try:
        write_json(file, ["\u00e4", 1])
    finally:
        os.umask(before)
    assert read_json(file) == ["\u00e4", 1]
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_is_one_paragraph_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, 1)
    words = r"a\.json cannot be written \(No space left on device\).*same command again"
    with pytest.raises(StoreError, match=words), replacing(file):
        Path("/dev/full").write_text("x")
    assert read_json(file) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_made_is_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/store/\.writable cannot be written \(Not a directory\)") as caught:
        LOCAL.check_writable(tmp_path / "file" / "store")
    assert "\n" not in str(caught.value)


def test_checking_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    LOCAL.check_writable(tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ('{"a":', "is not JSON"), ('{"a": 1,\n}', "line 2")]
)
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "a.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StoreError, match=words) as caught:
        read_json(file)
    assert str(file) in str(caught.value)
