"""TensorBoard's event files, read back by its own accumulator."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from needed import need
from PIL import Image
from tracked_runs import CELL, SCORES, SECRET, SWEEP, find_bytes, tell

from eibench_ray.tracking.tensorboard.tensorboard_tracker import TensorboardTracker

need("tensorboard", "tensorboard is not installed")


def read_folder(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    found.Reload()
    return found


def scalars(found: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in found.Scalars(name)]


def read_text(found: Any, name: str) -> str:
    (event,) = found.Tensors(name)
    return str(event.tensor_proto.string_val[0].decode())


def test_folders_hold_scalars_tables_pictures_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.plugins.hparams import metadata

    monkeypatch.chdir(tmp_path)
    report = tell(TensorboardTracker(), tmp_path / "run", os.environ | {"WANDB_API_KEY": SECRET})
    assert list(report.sent) == [CELL.name, SWEEP.name]
    cell = read_folder(tmp_path / "tensorboard" / "tiny _made up_" / "plain" / "demo" / "strict@1a2b")
    assert {name: pytest.approx(value) for name, value in SCORES.items()} == {
        name: scalars(cell, name)[-1][1] for name in SCORES
    }
    assert scalars(cell, "recall") == [(24, 0.5)]
    assert scalars(cell, "tokens")[-1] == (16, 160.0)
    text = read_text(cell, "samples")
    assert text.splitlines()[0] == r"| sample\_id | answer | recall |"
    assert text.splitlines()[1] == "| --- | --- | --- |"
    assert text.splitlines()[2] == r"| s0 | an answer \| \<b\> | 0.5 |"
    (image,) = cell.Images("samples/s0/image")
    assert Image.open(io.BytesIO(image.encoded_image_string)).size == (512, 128)

    contents = cell.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(contents).hparams
    assert (settings["model.name"].string_value, settings["model.seed"].number_value) == ("tiny", 3)
    assert len(settings["setting.prompt"].string_value) == 200

    sweep = read_folder(tmp_path / "tensorboard" / "sweep night")
    assert (scalars(sweep, "queue/tiny"), scalars(sweep, "tokens_per_s/tiny")) == ([(24, 24.0)], [(24, 9.0)])
    assert read_text(sweep, "leaderboard").splitlines()[2] == "| tiny | 0.5 | 0.4 | 0.3 |  |"
    assert "s3://b/steps/ab" in read_text(sweep, "addresses")
    assert find_bytes(tmp_path, SECRET.encode()) == []
    assert capfd.readouterr() == ("", "")


def test_neither_tensorflow_nor_torch_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tracked_runs import tell\n"
        "from eibench_ray.tracking.tensorboard.tensorboard_tracker import TensorboardTracker\n"
        "print(list(tell(TensorboardTracker(), Path('run'), {}).missing))\n"
        "print({'tensorflow', 'torch', 'pandas'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "endpoints")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == "[]\nset()\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    report = tell(TensorboardTracker(str(tmp_path / "file")), tmp_path / "run", {})
    assert set(report.missing) == {CELL.name, SWEEP.name}
    assert "NotADirectoryError" in str(report.reason)
