"""Plug-ins by name, from real distributions on sys.path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup

GROUP = PluginGroup(
    "eibench_ray.engines_of_tests", {"words": "textwrap:dedent", "paths": "pathlib:Path"}, "engine kind"
)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes a distribution of one module and its entry points, as an installer would, into a folder on sys.path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(distribution: str, source: str, **points: str) -> None:
        (site / f"{distribution}.py").write_text(source)
        monkeypatch.delitem(sys.modules, distribution, raising=False)
        info = site / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP.entry_points}]", *lines, ""]))

    return write


def test_a_builtin_is_found_without_any_package() -> None:
    assert GROUP.find("paths", type) is Path


def test_a_package_adds_a_plugin_and_listing_it_does_not_import_it(install: Install) -> None:
    install("outside_plain", "KIND = 'an engine'\n", mine="outside_plain:KIND")
    assert GROUP.names() == ["mine", "paths", "words"]
    assert "outside_plain" not in sys.modules
    assert GROUP.find("mine", str) == "an engine"


def test_an_unknown_name_lists_the_names_and_the_nearest(install: Install) -> None:
    install("outside_near", "KIND = 1\n", sglang="outside_near:KIND")
    with pytest.raises(ConfigError) as raised:
        GROUP.find("sglan")
    assert str(raised.value) == (
        "there is no engine kind 'sglan': 'sglang' is near; there are paths, sglang, words, and an installed package "
        "adds others (entry points eibench_ray.engines_of_tests)"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('no GPU here')\n", "RuntimeError: no GPU here"),
        ("OTHER = 1\n", "AttributeError: module 'outside_broken' has no attribute 'KIND'"),
    ],
)
def test_a_broken_plugin_is_named_with_its_package_and_reason(install: Install, source: str, reason: str) -> None:
    install("outside_broken", source, mine="outside_broken:KIND")
    with pytest.raises(ConfigError) as raised:
        GROUP.find("mine")
    assert str(raised.value) == (
        f"the engine kind 'mine' cannot be loaded: outside_broken:KIND of the package outside_broken 1.2 ended in "
        f"{reason}; repair or uninstall that package"
    )


def test_a_broken_plugin_leaves_the_others_alone(install: Install) -> None:
    install("outside_bad", "raise RuntimeError\n", bad="outside_bad:KIND")
    install("outside_good", "KIND = 2\n", good="outside_good:KIND")
    assert GROUP.names() == ["bad", "good", "paths", "words"]
    assert GROUP.find("good", int) == 2


def test_a_name_of_two_packages_is_refused_with_both(install: Install) -> None:
    install("outside_one", "KIND = 1\n", mine="outside_one:KIND")
    install("outside_two", "KIND = 2\n", mine="outside_two:KIND")
    with pytest.raises(ConfigError, match=r"the package outside_one 1\.2 and by the package outside_two 1\.2"):
        GROUP.find("mine")


def test_no_package_takes_the_place_of_a_builtin(install: Install) -> None:
    install("outside_taker", "KIND = 1\n", words="outside_taker:KIND")
    with pytest.raises(ConfigError, match=r"eibench_ray itself and by the package outside_taker 1\.2"):
        GROUP.find("words")


def test_a_plugin_of_another_type_is_refused_with_its_package(install: Install) -> None:
    install("outside_type", "KIND = 1\n", mine="outside_type:KIND")
    with pytest.raises(ConfigError, match=r"of the package outside_type 1\.2 is of the type int, and Path is needed"):
        GROUP.find("mine", Path)


def test_a_failing_builtin_is_our_own_fault_and_keeps_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError):
        PluginGroup("eibench_ray.none", {"gone": "no_such_module_at_all:KIND"}, "tracker").find("gone")
