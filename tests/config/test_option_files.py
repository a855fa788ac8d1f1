"""Option files are read once, and no composition sees what another one wrote."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import Container, OmegaConf
from omegaconf.base import ContainerMetadata, Metadata

from eibench_ray.config.option_files import OptionFiles, OptionLoader, own_loader
from eibench_ray.config.options_folder import config_folder


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


CELL = ["model=echo", "judge=echo", "dataset=demo"]


@pytest.fixture
def loader() -> Iterator[OptionLoader]:
    with own_loader(), initialize_config_dir(str(config_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, OptionLoader)
        yield loader


@pytest.mark.parametrize(
    ("said", "added", "mode"),
    [
        (CELL, ["hydra.mode=RUN"], RunMode.RUN),
        ([*CELL, "hydra.mode=RUN"], [], RunMode.RUN),
        (["experiment=demo"], [], RunMode.MULTIRUN),
    ],
)
def test_what_was_composed_to_see_the_mode_is_what_is_composed_next(
    loader: OptionLoader, monkeypatch: pytest.MonkeyPatch, said: list[str], added: list[str], mode: RunMode
) -> None:
    whole = loader.load_configuration("config", [*said, *added], mode)
    loader.load_configuration("config", said, RunMode.MULTIRUN, validate_sweep_overrides=False)
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", None)
    again = loader.load_configuration("config", [*said, *added], mode)
    assert OmegaConf.to_yaml(again) == OmegaConf.to_yaml(whole)


@pytest.mark.parametrize("said", [CELL[1:], ["model=echo,tiny_llama", *CELL[1:]]], ids=["no model", "two models"])
def test_what_a_sweep_might_choose_is_refused_without_one(loader: OptionLoader, said: list[str]) -> None:
    with pytest.raises(ConfigCompositionException) as alone:
        loader.load_configuration("config", [*said, "hydra.mode=RUN"], RunMode.RUN)
    loader.load_configuration("config", said, RunMode.MULTIRUN, validate_sweep_overrides=False)
    with pytest.raises(ConfigCompositionException) as after:
        loader.load_configuration("config", [*said, "hydra.mode=RUN"], RunMode.RUN)
    assert str(after.value) == str(alone.value)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_default_may_name_the_choice_of_another(tmp_path: Path, size: str) -> None:
    ours = "".join(f"  - override hydra/{part}: eibench_ray\n" for part in ("launcher", "sweeper"))
    texts = {"config": f"defaults:\n  - size: small\n  - colour: of_${{size}}\n{ours}"}
    texts |= {f"size/{name}": f"name: {name}\n" for name in ("small", "large")}
    texts |= {f"colour/of_{name}": f"fits: {name}\n" for name in ("small", "large")}
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with own_loader(), initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = compose("config", [f"size={size}"] if size != "small" else [])
    assert OmegaConf.to_container(config) == {"size": {"name": size}, "colour": {"fits": size}}


def _without_times(metadata: Metadata) -> Metadata:
    return replace(metadata, resolver_cache={}) if isinstance(metadata, ContainerMetadata) else metadata


def facts(node: Any) -> Any:
    """All that OmegaConf knows of a node: its types, its flags, its place, and what is in it."""
    times = sorted(getattr(node._metadata, "resolver_cache", {}).get("now", ()))
    known = [
        type(node),
        _without_times(node._metadata),
        times,
        node._get_full_key(None),
        node._get_flag("struct"),
        node._get_flag("readonly"),
    ]
    inner = node._content if isinstance(node, Container) else node._value()
    if isinstance(inner, dict):
        return [*known, [(key, facts(value)) for key, value in inner.items()]]
    return [*known, [facts(value) for value in inner]] if isinstance(inner, list) else [*known, inner]


@pytest.mark.parametrize(
    "said",
    [
        CELL,
        [*CELL, "experiment=demo", "hydra/job_logging=default", "+hydra.job.env_set.A=b", "seed=3"],
        [
            "model=smollm2_135m",
            "model@asker=smollm2_135m",
            "model@captioner=smollm2_135m",
            "judge=llama3_8b",
            "dataset=demo",
        ],
        ["-m", "experiment=paper_table", "hydra.sweep.dir=elsewhere"],
    ],
    ids=" ".join,
)
def test_what_is_merged_once_and_not_copied_is_what_hydra_merges(
    loader: OptionLoader, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    overrides, mode = said[said[0] == "-m" :], RunMode.MULTIRUN if said[0] == "-m" else RunMode.RUN
    composed = [loader.load_configuration("config", overrides, mode) for _ in range(2)]
    for name in ("_compose_config_from_defaults_list", "_load_single_config", "_embed_result_config"):
        monkeypatch.delattr(OptionLoader, name)
    hydras = facts(loader.load_configuration("config", overrides, mode))
    assert [facts(config) for config in composed] == [hydras, hydras]


def test_folders_are_named_by_the_time_of_their_own_composition(
    loader: OptionLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader.load_configuration("config", CELL, RunMode.RUN)
    monkeypatch.setattr("eibench_ray.config.option_files.datetime", SimpleNamespace(now=lambda: datetime(2001, 2, 3)))
    later = loader.load_configuration("config", CELL, RunMode.RUN)
    assert later.hydra.run.dir == copy.deepcopy(later).hydra.run.dir == "outputs/2001-02-03/00-00-00"


def test_a_file_of_the_package_that_has_changed_is_read_again(tmp_path: Path) -> None:
    shutil.copytree(config_folder(), tmp_path, dirs_exist_ok=True)

    def composed() -> tuple[int, str]:
        with own_loader(), initialize_config_dir(str(tmp_path), version_base="1.3"):
            config = compose("config", [*CELL, "tracking=none"], return_hydra_config=True)
            return config.seed, config.hydra.launcher.get("marked", "")

    assert composed() == (0, "")
    main, own = tmp_path / "config.yaml", tmp_path / "hydra/launcher"
    main.write_text(main.read_text().replace("seed: 0 ", "seed: 10"))
    assert composed() == (10, "")
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: hydra_plugins.eibench_ray_launcher.launcher.PlanLauncher\nmarked: a\n")
    main.write_text(main.read_text().replace("launcher: eibench_ray", "launcher: mine"))
    assert composed() == (10, "a")
    (own / "mine.yaml").write_text("_target_: hydra_plugins.eibench_ray_launcher.launcher.PlanLauncher\nmarked: b\n")
    assert composed() == (10, "b")
