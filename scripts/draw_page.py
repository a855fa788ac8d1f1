"""Draws the top of a page and a sample below it: `draw_page.py RUN/report.html docs/img/page.png`.

RUN is the folder that `make demo` named. Chromium is looked for on the path (Debian: apt-get install chromium).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from shutil import which

from playwright.sync_api import sync_playwright


def draw_page(page: Path, out: Path, *, width: int, height: int, scheme: str, part: str) -> None:
    """Writes a PNG of the page as a window of that size shows it, with a part of it at the top."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        tab.goto(page.absolute().as_uri())
        tab.wait_for_selector("body[data-ready]")
        tab.locator(f"#{part}").evaluate("(part) => part.scrollIntoView({ behavior: 'instant' })")
        tab.wait_for_timeout(1000)  # charts are drawn when they come into view
        tab.screenshot(path=out)
        browser.close()


def main() -> None:
    """Draws as the command line says."""
    parser = argparse.ArgumentParser(description="Draw a page as PNG.")
    parser.add_argument("page", type=Path, help="the page")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280, help="pixels")
    parser.add_argument("--height", type=int, default=900, help="pixels")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--part", choices=["head", "leaderboard", "charts", "samples"], default="head")
    args = parser.parse_args()
    draw_page(args.page, args.out, width=args.width, height=args.height, scheme=args.scheme, part=args.part)


if __name__ == "__main__":
    main()
