"""Option files are read once, and no composition sees what another one wrote."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins

from eibench_ray.config.option_files import OptionFiles


def search(*folders: Path) -> ConfigSearchPathImpl:
    Plugins.instance()  # Hydra knows no kind of source before
    path = ConfigSearchPathImpl()
    for folder in folders:
        path.append("test", f"file://{folder}")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text("key: 1\n")
    return tmp_path


def test_a_file_is_read_once_for_all_copies(folder: Path) -> None:
    files = OptionFiles(search(folder))
    first = files.load_config(config_path="a")
    (folder / "a.yaml").write_text("key: 2\n")
    again = copy.deepcopy(files).load_config(config_path="a")
    assert first is not None
    assert again is not None
    assert (first.config.key, again.config.key) == (1, 1)


def test_what_one_composition_writes_no_other_reads(folder: Path) -> None:
    files = OptionFiles(search(folder))
    first = files.load_config(config_path="a")
    assert first is not None
    first.config.key = 5
    again = files.load_config(config_path="a")
    assert again is not None
    assert again.config.key == 1


def test_a_copy_with_other_sources_reads_them_and_leaves_the_original_alone(folder: Path) -> None:
    files = OptionFiles(search(folder))
    files.load_config(config_path="a")
    other = folder / "other"
    other.mkdir()
    (other / "a.yaml").write_text("key: 3\n")
    copied = copy.deepcopy(files)
    copied.initialize_sources(search(other))
    theirs, ours = copied.load_config(config_path="a"), files.load_config(config_path="a")
    assert theirs is not None
    assert ours is not None
    assert (theirs.config.key, ours.config.key) == (3, 1)


def test_a_file_that_is_not_there_is_none(folder: Path) -> None:
    assert OptionFiles(search(folder)).load_config(config_path="b") is None
