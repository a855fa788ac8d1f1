"""The page in a real browser: nothing in it acts, nothing leaves it, and everybody can use it.

One sweep with names, texts and errors that are out to harm is drawn once; each test loads it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Literal

import altair as alt
import pytest
from drawing import draw

from eibench_ray.config.report_section import ReportConfig
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.plan.graph import Blocker
from eibench_ray.report.charts.look import make_chart
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.runs import run_page
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.run_page import write_report
from eibench_ray.runs.run_record import new_manifest, new_status

if TYPE_CHECKING:
    from conftest import Sweeps
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
expect = playwright.expect
CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]

# What ends a script, begins one, loads something, moves a cursor, turns text around.
EVIL = "</script><script>hacked=1</script><img src=x onerror='hacked=1'>&lt;\x1b[2J\u202egnp"
WORST = f"{EVIL}\ud800"  # half of a pair: no file of ours can hold it, a name can
KEY = "sk-0123456789abcdefghijklmnop"
NUM = 100


class Answering:
    """An engine whose answers and verdicts are out to harm; some fail, are cut off, or think."""

    async def start(self) -> EngineFacts:
        return EngineFacts("answering", 8)

    async def generate(self, request: Request, images: object) -> Reply:  # noqa: ARG002
        number = int(request.user.partition("#")[2].partition("#")[0])
        if request.json_schema is not None:
            is_harsh = "harsh" in (request.system or "")
            hits = {str(part): not is_harsh or part == 1 for part in range(1, 3)}
            reply = json.dumps({"explanation": f"said {EVIL}"[:80], "named": hits})
            return Reply(reply, "stop", 9, 9)
        if number == 7:
            raise RowError(RowErrorKind.PROMPT, f"refused {EVIL}")
        is_cut = number % 10 == 3
        thinking = f"thought {EVIL}" if number % 10 == 4 else None
        return Reply(f"answer #{number}# {EVIL}", "length" if is_cut else "stop", 9, 12, thinking=thinking)

    async def stop(self) -> None:
        """Nothing: nothing was started."""


def judge(name: str) -> dict[str, Any]:
    model = {"name": f"{name} model", "engine": {"kind": "echo"}, "sees_image": False}
    prompt = "#{{ number }}# has {{ answer }} these: {{ targets | join(', ') }}"
    return {"name": name, "kind": "strict", "verdict": "triggers", "model": model, "system": name, "prompt": prompt}


def write_samples(folder: Path) -> None:
    with DatasetWriter(folder, "a dataset that is out to harm") as writer:
        for number in range(NUM):
            sample = Sample(
                f"id {number} {EVIL}",
                {"number": str(number), "question": f"question #{number}# {EVIL}"},
                (Media(f"one {EVIL}.png"), Media(f"two {number}.png")),
                (f"first {EVIL}", "second"),
                {"kind": f"{'even' if number % 2 == 0 else 'odd'} {EVIL}", "source": f"from {EVIL}"},
            )
            writer.add(sample, [draw((number % 256, 40, 200)), draw((40, number % 256, 90))])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, sweeps_in: type[Sweeps]) -> FoundRun:
    sweeps = sweeps_in(tmp_path_factory.mktemp("page"))
    write_samples(sweeps.folder / "faces")
    cells = [
        sweeps.config(setting, judge(name), dataset={"name": "faces", "group_by": ["kind"]}, slice_rows=100)
        for setting, name in (("plain", "mild"), ("plain", f"harsh {EVIL}"), ("brief", "mild"), ("noted", "mild"))
    ]
    sweeps.ask(sweeps.plan(*cells[:3]), Answering())
    sweep = sweeps.plan(*cells)  # what is left of it is blocked
    blocker = Blocker(f"other {WORST}", f"no key {WORST}", WORST, f"do {WORST}")
    named = [replace(cell, model=f"model {WORST}") for cell in sweep.plan.cells]
    plan = replace(
        sweep.plan,
        sweep=f"sweep {WORST}",
        cells=(*named[:3], replace(named[3], blockers=(blocker,))),
        engines={
            key: replace(spec, traits=replace(spec.traits, words="model")) for key, spec in sweep.plan.engines.items()
        },
    )
    folder = sweeps.folder / "run"
    manifest = new_manifest(plan, folder, sweep.config.store, sweep.config.score)
    status = new_status(manifest, sweep.store)
    status.state = "finished"
    return FoundRun(manifest, status, sweep.store, folder, has_folder=True)


@pytest.fixture(scope="module")
def path(run: FoundRun) -> Path:
    return write_report([run], run.folder / "page.html", ReportConfig(pictures="thumbnails")).path


@pytest.fixture(scope="module")
def browser(path: Path) -> Iterator[Browser]:  # noqa: ARG001 - asyncio runs before the driver's loop does, or not at all
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Tab:
    """A tab, and all that it did beside being read."""

    page: Page
    asked: list[str] = field(default_factory=list)  # addresses
    said: list[str] = field(default_factory=list)  # in the console

    def open(self, path: Path, address: str = "") -> None:
        self.page.goto(f"{path.as_uri()}{address}")
        self.page.wait_for_selector("body[data-ready]")

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    """One page for all tests, each of which loads it anew: a renderer's start is a third of the CPU time of a test."""
    # Without motion: a click may meet what a smooth scroll has just put under the pointer.
    page = browser.new_context(reduced_motion="reduce").new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def tab(page: Page, path: Path) -> Iterator[Tab]:
    tab = Tab(page)
    listeners: dict[Any, Callable[[Any], None]] = {
        "request": lambda request: tab.asked.append(request.url),
        "console": lambda message: tab.said.append(message.text),
        "pageerror": lambda error: tab.said.append(str(error)),
        "dialog": lambda dialog: tab.said.append(dialog.message),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="null", color_scheme="light")  # as at first
    tab.open(path)
    yield tab
    assert tab.said == []
    assert tab.page.evaluate("window.hacked") is None
    assert [url for url in tab.asked if not url.startswith(("data:", path.parent.as_uri()))] == []
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    page.goto("about:blank")


def test_nothing_acts_and_everything_is_shown_as_it_is(tab: Tab) -> None:
    shown = tab.page.evaluate("document.body.innerText")
    assert "<script>hacked=1</script>" in shown
    assert r"\x1b[2J\u202egnp\ud800" in shown
    assert "\u202e" not in shown
    assert tab.page.locator("img[src=x]").count() == 0
    assert tab.asked[0] == tab.page.url.partition("#")[0]


def test_the_policy_lets_no_request_out(tab: Tab) -> None:
    asked = """async () => {
      const told = [];
      document.addEventListener('securitypolicyviolation', (event) => told.push(event.effectiveDirective));
      await fetch('https://example.com/').catch(() => {});
      document.body.append(Object.assign(new Image(), { src: 'https://example.com/x.png' }));
      document.body.append(Object.assign(document.createElement('script'), { src: 'https://example.com/x.js' }));
      await new Promise((resolve) => setTimeout(resolve, 300));
      return told;
    }"""
    assert set(tab.page.evaluate(asked)) == {"connect-src", "img-src", "script-src-elem"}
    assert all("Content Security Policy" in said or "ERR_BLOCKED_BY_CSP" in said for said in tab.said)
    tab.said.clear()
    tab.asked.clear()  # the browser counts what it refused


def test_the_head_says_what_is_blocked_and_why(tab: Tab) -> None:
    assert [line[:22] for line in tab.texts(".warning")] == ["1 cell blocked: no key"]
    assert "blocked cells" in tab.texts("#head dt")


def test_the_leaderboard_is_sorted_by_a_click_and_says_so(tab: Tab) -> None:
    column = tab.page.locator("th.score button")
    column.click()
    assert column.locator("..").get_attribute("aria-sort") == "descending"
    assert tab.texts("td.score") == ["100.0", "100.0", "50"]
    column.press("Enter")
    assert column.locator("..").get_attribute("aria-sort") == "ascending"
    assert tab.texts("td.score") == ["50", "100.0", "100.0"]


def test_the_leaderboard_is_filtered_by_judge_and_by_group(tab: Tab) -> None:
    tab.page.get_by_label("judge", exact=True).select_option("mild")
    assert tab.texts("td.score") == ["100.0", "100.0"]
    tab.page.get_by_label("group").first.select_option(index=1)
    assert "of samples with kind: even" in tab.page.locator("#leaderboard > [role=status]").inner_text()
    assert "50" in tab.texts("#leaderboard tbody tr:first-child td")


def test_a_click_on_a_score_opens_its_samples(tab: Tab) -> None:
    tab.page.locator("td.score a").first.click()
    tab.page.wait_for_selector(".sample")
    assert tab.page.locator(".cell").count() == 2
    assert "judged by harsh" in tab.texts(".cell h4")[0]
    assert "#sample=" in tab.page.url


def test_cells_are_compared_with_hits_and_misses_of_each_judge(tab: Tab) -> None:
    tab.page.get_by_label("cell B").select_option(index=2)
    tab.page.get_by_label("cell C").select_option(index=3)
    expect(tab.page.locator(".cell")).to_have_count(3)
    assert tab.texts(".target tbody td") == ["✓ hit", "✓ hit", "✓ hit", "✓ hit", "✗ missed", "✓ hit"]
    assert tab.page.locator(".pictures img").count() == 2
    assert any("said </script>" in text for text in tab.texts("blockquote"))


def test_flips_come_first_and_filters_leave_what_was_asked_for(tab: Tab) -> None:
    status = tab.page.locator(".side [role=status]")
    expect(status).to_have_text("100 of 100 samples")
    tab.page.get_by_label("judges disagree").check()
    expect(status).to_have_text("99 of 100 samples")  # but for the one without an answer
    tab.page.get_by_label("judges disagree").uncheck()
    tab.page.get_by_label("ended").select_option("truncated")
    expect(status).to_have_text("10 of 100 samples")
    tab.page.get_by_label("ended").select_option("")
    tab.page.get_by_label("without a score").select_option("answer: prompt")
    expect(status).to_have_text("1 of 100 samples")
    tab.page.get_by_label("without a score").select_option("")
    tab.page.get_by_placeholder("most").fill("99")
    expect(status).to_have_text("0 of 100 samples")
    tab.page.get_by_placeholder("most").fill("")
    tab.page.get_by_label("Search prompts and answers").fill("QUESTION #9")
    expect(status).to_have_text("11 of 100 samples")


def test_an_error_and_thinking_are_shown(tab: Tab) -> None:
    tab.page.get_by_label("Search prompts and answers").fill("question #7#")
    expect(tab.page.locator(".side [role=status]")).to_have_text("1 of 100 samples")
    tab.page.locator(".row").first.click()
    assert tab.page.locator(".error").first.inner_text().startswith("prompt: refused </script>")
    tab.page.get_by_label("Search prompts and answers").fill("question #4#")
    expect(tab.page.locator(".row b").first).to_contain_text("id 4 ")
    tab.page.locator(".row").first.click()
    tab.page.get_by_text("Thinking").first.click()
    assert tab.page.locator(".thinking").first.inner_text().startswith("thought </script>")
    tab.page.get_by_text("Prompt as sent").first.click()
    assert "[picture 1]" in tab.page.locator("details[open] pre").first.inner_text()


def test_a_permalink_leads_to_the_same_sample_and_cells(tab: Tab, path: Path) -> None:
    tab.page.get_by_label("cell B").select_option(index=3)
    tab.page.locator(".row").nth(5).click()
    expect(tab.page.locator(".position b")).to_contain_text("id 5 ")
    address = tab.page.url.partition("#")[2]
    tab.open(path.parent / path.name, f"?#{address}")
    assert tab.texts(".position b")[0].startswith("id 5 ")
    assert [text.split("\n")[1] for text in tab.texts(".cell h4")] == ["plain, judged by mild", "brief, judged by mild"]


def test_arrow_keys_go_from_sample_to_sample(tab: Tab) -> None:
    position = tab.page.locator(".position")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("ArrowRight")
    expect(position).to_contain_text("3 of 100")
    tab.page.keyboard.press("ArrowLeft")
    expect(position).to_contain_text("2 of 100")
    tab.page.locator(".list").focus()
    tab.page.keyboard.press("End")
    expect(position).to_contain_text("100 of 100")
    assert tab.page.locator("[role=option][aria-selected=true]").count() == 1


def test_a_long_list_draws_only_what_is_seen(tab: Tab) -> None:
    assert tab.page.locator(".row").count() < 40
    tab.page.locator(".list").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
    expect(tab.page.locator(".row").last).to_have_id("row-99")
    assert tab.page.locator(".row").count() < 40


def test_it_prints_without_what_one_cannot_press_on_paper(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    assert not tab.page.locator(".filters").first.is_visible()
    assert not tab.page.locator(".side").is_visible()
    assert tab.page.locator("#leaderboard table").is_visible()
    assert tab.page.locator(".cell").first.is_visible()
    assert tab.page.pdf().startswith(b"%PDF")


def test_light_and_dark_follow_the_system_and_the_button(tab: Tab) -> None:
    def paper() -> str:
        return str(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    tab.page.emulate_media(color_scheme="dark")
    dark = paper()
    tab.page.locator("#theme").click()
    assert (paper(), dark != light) == (light, True)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(tab: Tab, scheme: Literal["light", "dark"], width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core checks who can use the page")
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = axe.Axe().run(tab.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_a_phone_needs_no_scrolling_sideways(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_with_its_data_beside_it_opens_from_disk(
    tab: Tab, run: FoundRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_page, "MOST_INLINE", 0)
    page = write_report([run], run.folder / "large page.html", ReportConfig())
    tab.open(page.path)
    assert page.data.is_dir()
    assert tab.texts("td.score") == ["50", "100.0", "100.0"]
    assert tab.page.locator(".cell").count() == 2
    assert {Path(url).suffix for url in tab.asked[-4:]} == {".js"}
    expect(tab.page.locator("head script")).to_have_count(0)


def test_charts_are_drawn_in_the_pages_ink_and_told_in_words(
    tab: Tab, run: FoundRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"name": f"one {EVIL}", "value": 1}, {"name": "two", "value": 3}]
    drawn = alt.Chart(alt.InlineData(values=values), height=60).mark_bar().encode(x="value:Q", y="name:N")
    chart = make_chart("values", f"Values {EVIL}", f"One is 1, two is 3 {EVIL}.", drawn)
    monkeypatch.setattr(run_page, "_draw", lambda *_: [chart])
    page = write_report([run], run.folder / "charts.html", ReportConfig(samples=0))
    tab.open(page.path)
    tab.page.locator("#charts").scroll_into_view_if_needed()
    expect(tab.page.locator("#chart-values svg")).to_be_visible()
    assert r"\x1b[2J" in tab.page.locator("#chart-values svg").inner_html()
    assert tab.texts("#charts figcaption")[0].startswith("One is 1, two is 3 </script>")
    assert tab.page.locator("#samples").is_hidden()


def test_a_page_holds_no_key(run: FoundRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    hydra = {
        "hydra": {
            "overrides": {"task": [f"model.engine.api_key={KEY}"], "hydra": []},
            "runtime": {"config_sources": []},
        }
    }
    (run.folder / "multirun.yaml").write_text(json.dumps(hydra))
    page = write_report([run], run.folder / "page of a key.html", ReportConfig())
    assert KEY not in page.path.read_text(encoding="utf-8")
