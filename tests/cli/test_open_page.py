"""`run --open`: the page opens where there is a desktop, and nowhere else."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from eibench_ray.cli.open_page import has_desktop, open_page


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", False),
        ({}, "darwin", True),
        ({"CI": "true"}, "darwin", False),
    ],
)
def test_a_desktop_is_a_display_outside_of_ci(environment: dict[str, str], platform: str, expected: bool) -> None:
    assert has_desktop(environment, platform) is expected


def test_a_page_of_any_name_is_opened_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.setenv("WAYLAND_DISPLAY", "")
    monkeypatch.setattr("sys.platform", "linux")
    page = tmp_path / "a b#c" / "report.html"
    assert not open_page(page)
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_page(page)
    assert opened == [page.as_uri()]
