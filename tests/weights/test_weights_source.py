from __future__ import annotations

from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.weights.content_identity import identity
from eibench_ray.weights.recipes import checkpoint_folder
from eibench_ray.weights.weights_source import resolve_source, source_identity

HUB_ID = "llava-hf/llava-v1.6-vicuna-7b-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint folder at `org/model` of the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "org" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_checkpoint_resolves_to_its_folder_without_building(tmp_path: Path) -> None:
    environ = {"EIBENCH_CHECKPOINTS": str(tmp_path)}
    resolved = Path(resolve_source("checkpoint:tiny_llama", environ))
    assert resolved == checkpoint_folder("tiny_llama", environ)
    assert not resolved.exists()


@pytest.mark.parametrize("source", ["org/model", "./org/model", "org/../org/model"])
def test_folder_resolves_to_its_absolute_path(model: Path, source: str) -> None:
    assert resolve_source(source) == str(model)


@pytest.mark.parametrize(
    ("source", "resolved"),
    [
        (HUB_ID, HUB_ID),
        ("gpt2", "gpt2"),
        ("/not/there", "/not/there"),
        ("~/not_there", str(Path.home() / "not_there")),
        ("not/there/either", "{cwd}/not/there/either"),
    ],
)
def test_hub_ids_stay_and_paths_become_absolute(model: Path, source: str, resolved: str) -> None:
    assert resolve_source(source) == resolved.format(cwd=model.parents[1])


def test_checkpoint_has_the_same_identity_before_and_after_building(tmp_path: Path) -> None:
    environ = {"EIBENCH_CHECKPOINTS": str(tmp_path)}
    before = source_identity("checkpoint:tiny_llama", None, environ)
    checkpoint_folder("tiny_llama", environ).mkdir()
    assert source_identity("checkpoint:tiny_llama", None, environ) == before
    assert source_identity("checkpoint:tiny_llava", None, environ) != before


def test_a_folder_that_is_not_there_is_known_by_its_path() -> None:
    assert source_identity("/not/there", None) == "absent:/not/there"


def test_folder_is_identified_by_its_content(model: Path) -> None:
    assert source_identity(str(model), None) == source_identity("org/model", None) == f"folder:{identity(model)}"


@pytest.mark.parametrize(
    ("variable", "under"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_hub_id_without_revision_is_the_cached_commit_of_main(tmp_path: Path, variable: str, under: str) -> None:
    environ = {variable: str(tmp_path)}
    assert source_identity(HUB_ID, None, environ) == f"hub:{HUB_ID}@main"
    reference = tmp_path / under / "models--llava-hf--llava-v1.6-vicuna-7b-hf" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT + "\n")
    assert source_identity(HUB_ID, None, environ) == f"hub:{HUB_ID}@{COMMIT}"
    assert source_identity(HUB_ID, "v1", environ) == f"hub:{HUB_ID}@v1"


@pytest.mark.parametrize(
    ("source", "revision", "message"),
    [
        ("checkpoint:tiny_lama", None, "did you mean 'tiny_llama'"),
        ("org", None, r"/org is no checkpoint: it has no config\.json"),
        ("checkpoint:tiny_llama", "main", "has no revisions"),
        ("org/model", "main", "has no revisions"),
    ],
)
def test_source_that_means_nothing_is_refused(model: Path, source: str, revision: str | None, message: str) -> None:
    assert model.is_dir()
    with pytest.raises(ConfigError, match=message):
        source_identity(source, revision)
