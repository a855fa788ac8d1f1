"""Names in a picture are data: in a page's script, in an SVG, whatever they are made of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from test_gantt import ROLES, ledger, texts

from eibench_ray.report.gantt import write_gantt
from eibench_ray.schedule.gpu_accounting import account

HOSTILE = "</script><script>alert(1)</script><!--&lt;\x1b]0;title\x07\u202e'\"[/b]"


def test_no_name_ends_the_script_of_a_page(tmp_path: Path) -> None:
    events = ledger(1, 4)
    for event in events:
        if "model" in event:
            event["model"] = HOSTILE
    plain, hostile = tmp_path / "plain.html", tmp_path / "hostile.html"
    write_gantt(plain, account(ledger(1, 4), ROLES), "a run")
    write_gantt(hostile, account(events, ROLES), HOSTILE)
    page = hostile.read_text(encoding="utf-8")
    for tag in ("<script", "</script", "<!--"):
        assert page.count(tag) == plain.read_text(encoding="utf-8").count(tag)
    found = re.search(r"const spec = (.*);\n", page)
    assert found is not None
    assert not set(found[1]) & set("<>&")
    spec = json.loads(found[1])
    shown = "</script><script>alert(1)</script><!--&lt;\\x1b]0;title\\x07\\u202e'\"[/b]"
    assert spec["title"]["text"] == shown
    assert shown in {row.get("model") for rows in spec["datasets"].values() for row in rows}


@pytest.mark.parametrize("name", [HOSTILE, "<b>x</b>", "a&b", "\x00\x1b[2J"])
def test_an_svg_with_any_name_is_xml(tmp_path: Path, name: str) -> None:
    write_gantt(tmp_path / "a.svg", account(ledger(1, 4), ROLES), name)
    assert any(word.startswith(name[:2].replace("\x00\x1b", "\\x00")[:4]) for word in texts(tmp_path / "a.svg"))
