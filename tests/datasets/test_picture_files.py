from pathlib import Path

import pytest

from eibench_ray.datasets.picture_files import MOST_FILE_BYTES, EscapedPathError, PictureFolders, read_picture
from eibench_ray.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("CAER-S/train/Angry/1.png", "CAER-S/test/Angry/1.png", "CAER-S/test/Angry/2.png", "secret.png"):
        file = tmp_path / "all" / name if name != "secret.png" else tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    return tmp_path / "all"


@pytest.mark.parametrize("folder", ["", "CAER-S", "CAER-S/train"])
def test_a_picture_is_found_from_any_folder_above_it(root: Path, folder: str) -> None:
    found = PictureFolders([root / folder]).find("CAER-S/train/Angry/1.png")
    assert found == (root / "CAER-S/train/Angry/1.png").resolve()


def test_another_split_never_stands_in(root: Path) -> None:
    assert PictureFolders([root / "CAER-S/test"]).find("CAER-S/train/Angry/1.png") is None
    assert PictureFolders([root / "CAER-S/train", root]).find("CAER-S/test/Angry/2.png") is not None


def test_the_dataset_folder_may_have_another_name(root: Path) -> None:
    (root / "CAER-S").rename(root / "caer")
    assert PictureFolders([root / "caer"]).find("CAER-S/train/Angry/1.png") is not None
    assert PictureFolders([root]).find("CAER-S/train/Angry/1.png") is None


@pytest.mark.parametrize("path", ["../secret.png", "CAER-S/../../secret.png", "/etc/hostname", "", "a\\..\\b", "a\0b"])
def test_a_path_that_climbs_out_is_refused(root: Path, path: str) -> None:
    with pytest.raises(EscapedPathError):
        PictureFolders([root]).find(path)


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(root: Path) -> None:
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "in.png").symlink_to(root / "CAER-S/test/Angry/2.png")
    folders = PictureFolders([root])
    with pytest.raises(EscapedPathError):
        folders.find("out.png")
    assert folders.find("in.png") is not None


def test_a_picture_folder_may_itself_be_a_link(root: Path) -> None:
    (root.parent / "EmoSet").symlink_to(root / "CAER-S")
    assert PictureFolders([root.parent / "EmoSet"]).find("EmoSet/test/Angry/2.png") is not None


def test_a_picture_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        PictureFolders([tmp_path / "nowhere"])


def test_a_file_that_is_far_too_large_for_a_picture_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MOST_FILE_BYTES + 1)  # takes no room
    with pytest.raises(DataError, match=r"a\.png has 402,653,185 bytes, more than 384 MiB"):
        read_picture(tmp_path / "a.png")
