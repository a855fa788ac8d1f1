"""Opens a page in the desktop's browser, where there is a desktop."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_desktop(environment: Mapping[str, str], platform: str) -> bool:
    """Whether somebody sits before a screen: a browser without one would fill the terminal, or wait for ever."""
    return not environment.get("CI") and (platform == "darwin" or any(environment.get(name) for name in _DISPLAYS))


def open_page(page: Path) -> bool:
    """Opens a file in the browser; False where there is no desktop or no browser."""
    return has_desktop(os.environ, sys.platform) and webbrowser.open(page.resolve().as_uri())
