"""`bench.check`: a ratio fails where it is lower than the kept one by more than the noise of either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import check
from bench.result_file import FOLDER_VARIABLE, Ratio, ratio_of, write_result


def result(value: float, noise: float, name: str = "text") -> dict[str, Any]:
    return {"bench": "race", "ratios": [{"name": name, "value": value, "noise": noise}]}


@pytest.mark.parametrize(
    ("kept", "new", "is_worse"),
    [
        (result(2.0, 0.1), result(1.85, 0.05), False),
        (result(2.0, 0.1), result(1.75, 0.05), True),
        (result(2.0, 0.1), result(1.75, 0.2), False),
        (result(2.0, 0.1), result(9.0, 0.05), False),
        (result(2.0, 0.1), result(2.0, 0.1, name="another"), True),
    ],
    ids=["within", "worse", "the new one is noisier", "better", "gone"],
)
def test_only_what_is_worse_than_the_noise_fails(kept: Any, new: Any, is_worse: bool) -> None:
    _, worse = check.find_worse(kept, new)
    assert bool(worse) == is_worse


def test_a_ratio_of_rounds_is_their_median_and_knows_its_noise() -> None:
    ratio = ratio_of("text", [2.0, 2.4, 2.2], [1.0, 1.0, 1.0], goal=0.98)
    assert (ratio.value, ratio.noise, ratio.rounds) == (2.2, pytest.approx(0.2 / 2.2, abs=1e-3), 3)
    assert ratio_of("alone", [2.0], [1.0]).noise == 0.25


def test_results_of_a_folder_are_compared_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, new = tmp_path / "kept", tmp_path / "new"
    for folder, value in ((kept, 2.0), (new, 1.0)):
        monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
        write_result("race", {}, [{"s": 1.0}], [Ratio("text", value, 0.1, None, 1)])
    monkeypatch.setattr(check, "RESULTS", kept)
    check.main(None, kept)
    with pytest.raises(SystemExit) as ended:
        check.main(None, new)
    assert ended.value.code == 1
    assert "race: text: kept 2.0, now 1.0, noise 10%" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no kept results with ratios: unknown"):
        check.main(["unknown"], new)


def test_lines_that_are_measured_again_replace_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for name, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        line, ratio = {"case": name, "s": value}, Ratio(f"{name}: s", value, 0.1, None, 1)
        path = write_result("race", {"rows": 1}, [line], [ratio], key="case", command=lambda keys: ["race", *keys])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [(line["case"], line["s"]) for line in content["lines"]] == [("b", 2.0), ("a", 3.0)]
    assert [ratio["value"] for ratio in content["ratios"]] == [2.0, 3.0]
    assert content["command"] == ["race", "b", "a"]
    write_result("race", {"rows": 2}, [{"case": "c"}], key="case", command=lambda keys: keys)
    assert json.loads(path.read_text(encoding="utf-8"))["command"] == ["c"]  # other settings: nothing is kept


def test_kept_results_have_one_shape_and_say_nothing_of_this_machine() -> None:
    keys = {"bench", "command", "settings", "machine", "versions", "lines", "ratios"}
    for path in check.RESULTS.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content.keys() == keys, path.name
        assert content["bench"] == path.stem
        assert not any(str(part).startswith("/") for part in content["command"]), path.name
