from __future__ import annotations

from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.weights.recipes import NAMES, checkpoint_folder, find_recipe, is_built


@pytest.mark.parametrize(
    ("environ", "parent"),
    [
        ({"EIBENCH_CHECKPOINTS": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/eibench_ray/checkpoints")),
        ({"EIBENCH_CHECKPOINTS": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/eibench_ray/checkpoints"),
        ({"EIBENCH_CHECKPOINTS": "~/mine"}, Path.home() / "mine"),
        ({"EIBENCH_CHECKPOINTS": "here"}, Path.cwd() / "here"),
    ],
)
def test_folder_lies_in_the_first_cache_that_is_set(environ: dict[str, str], parent: Path) -> None:
    assert checkpoint_folder("tiny_llama", environ).parent == parent


def test_folder_name_carries_the_recipe_version() -> None:
    folders = {checkpoint_folder(name, {}).name for name in NAMES}
    assert folders == {f"{name}-{find_recipe(name).version}" for name in NAMES}


def test_checkpoint_is_built_once_its_folder_is_there(tmp_path: Path) -> None:
    environ = {"EIBENCH_CHECKPOINTS": str(tmp_path)}
    assert not is_built("tiny_llama", environ)
    checkpoint_folder("tiny_llama", environ).mkdir()
    assert is_built("tiny_llama", environ)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny_idefics3'"):
        find_recipe("tiny_idefic")


def test_unknown_name_that_is_near_nothing_lists_all() -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe("zzz")
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
