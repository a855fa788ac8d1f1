"""`view`'s server: who is answered, what is sent, and when a page is made anew."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_run_page import record

from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.runs import page_maker
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.page_maker import LEAST_REST_S, REST_SHARE, PageMaker
from eibench_ray.runs.run_record import write_state
from eibench_ray.runs.view_server import ADDRESS, ViewServer

if TYPE_CHECKING:
    from conftest import Sweeps

EVIL = "<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def run(sweeps: Sweeps, tmp_path: Path) -> FoundRun:
    """A run that says it goes on."""
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(sweep=f"sweep {EVIL}"))
    sweeps.ask(sweep)
    found = record(sweep, tmp_path / "run")
    write_state(found.status, found.store)
    return write(found, "running", 3)


def write(run: FoundRun, state: Any, done: int) -> FoundRun:
    """The run in another state."""
    run.status.state = state
    run.status.done = dict.fromkeys(run.manifest.plan.steps, done)
    run.status.write(run.folder)
    return run


class Clock:
    """Seconds that pass as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(run: FoundRun, tmp_path: Path) -> Iterator[ViewServer]:
    served = ViewServer(PageMaker(run.store.root, tmp_path / "pages"))
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def ask(
    server: ViewServer, path: str, *, token: str | None = None, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    """The answer to a request, with the cookie that holds a token."""
    connection = http.client.HTTPConnection(ADDRESS, server.port, timeout=60)
    sent = {"Cookie": f"{server.cookie}={token}"} if token else {}
    connection.request(method, path, headers={**sent, **headers})
    answer = connection.getresponse()
    return answer, answer.read().decode()


@pytest.mark.parametrize("path", ["/", "/run/x/", "/?token=wrong", "/?token=", "/run/x/report.html?token=%00%ff"])
def test_who_does_not_know_the_token_is_refused(server: ViewServer, path: str) -> None:
    for token in (None, "wrong", server.token[:-1]):
        answer, text = ask(server, path, token=token)
        assert answer.status == 403
        assert "holds a token" in text
        assert answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"])
def test_a_name_of_somebody_else_that_leads_here_is_refused(server: ViewServer, host: str) -> None:
    answer, text = ask(server, "/", token=server.token, Host=host.format(port=server.port))
    assert answer.status == 403
    assert "own address only" in text
    assert ask(server, "/", token=server.token, Host=f"localhost:{server.port}")[0].status == 200


def test_the_token_becomes_a_cookie_that_no_other_site_can_use(server: ViewServer) -> None:
    answer, text = ask(server, f"/?token={server.token}")
    assert answer.status == 200
    assert answer.getheader("Set-Cookie") == f"{server.cookie}={server.token}; Path=/; HttpOnly; SameSite=Strict"
    assert server.token not in text
    assert 'content="0; url=/"' in text


def test_it_only_reads(server: ViewServer) -> None:
    assert ask(server, "/", token=server.token, method="POST")[0].status == 501


def test_it_listens_on_loopback_alone_and_says_where_a_port_is_taken(server: ViewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match=f"--port {server.port} cannot be used"):
        ViewServer(server.viewer, server.port)


def test_the_list_shows_the_runs_of_the_store_and_escapes_their_names(server: ViewServer, run: FoundRun) -> None:
    answer, text = ask(server, "/", token=server.token)
    assert f'<a href="/run/{run.manifest.id}/">' in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x1b" not in text
    assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")


def test_a_run_is_framed_by_how_far_it_is(server: ViewServer, run: FoundRun) -> None:
    where = f"/run/{run.manifest.id}/"
    frame = ask(server, where, token=server.token)[1]
    assert 'src="report.html"' in frame
    assert "<script>alert" not in frame
    progress = json.loads(ask(server, f"{where}progress", token=server.token)[1])
    assert (progress["state"], progress["done"], progress["rows"]) == ("running", 6, 20)
    answer, page = ask(server, f"{where}report.html", token=server.token)
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert 'id="block-page"' in page


@pytest.mark.parametrize(
    "rest", ["../../../etc/passwd", "run.json", "report_data/../run.json", "report_data/x.js", "report_data/"]
)
def test_nothing_but_the_page_and_its_data_is_sent(server: ViewServer, run: FoundRun, rest: str) -> None:
    write(run, "finished", 10)
    (run.folder / "report.html").write_text("<p>its own</p>")
    answer, text = ask(server, f"/run/{run.manifest.id}/report.html", token=server.token)
    assert (answer.status, text) == (200, "<p>its own</p>")
    assert ask(server, f"/run/{run.manifest.id}/{rest}", token=server.token)[0].status == 404


def test_a_run_that_is_not_there_is_told(server: ViewServer) -> None:
    answer, text = ask(server, "/run/20200101-000000-0000/", token=server.token)
    assert answer.status == 500
    assert "20200101-000000-0000" in text


def test_a_page_stands_until_something_is_new_and_its_rest_is_over(
    run: FoundRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, made = Clock(), []

    def write_report(runs: list[FoundRun], path: Path, _: object) -> Any:
        made.append(sum(runs[0].status.done.values()))
        clock.now += 2.0  # seconds that it takes
        return type("Page", (), {"path": path})()

    monkeypatch.setattr(page_maker, "write_report", write_report)
    viewer, run_id = PageMaker(run.store.root, tmp_path / "pages", clock), run.manifest.id
    before = viewer.progress(run_id)["page"]
    viewer.page(run_id)
    assert viewer.progress(run_id)["page"] == before == "1"
    clock.now += 1000
    viewer.page(run_id)
    assert made == [6]  # nothing was new
    write(run, "running", 5)
    viewer.page(run_id)
    clock.now += 0.1
    write(run, "running", 6)
    assert viewer.progress(run_id)["page"] == "2"  # too early for a third
    clock.now += max(LEAST_REST_S, REST_SHARE * 2.0)
    assert viewer.progress(run_id)["page"] == "3"
    viewer.page(run_id)
    write(run, "failed", 6)
    assert viewer.progress(run_id)["page"] == "4"  # the end is shown at once
    viewer.page(run_id)
    assert made == [6, 10, 12, 12]


def test_a_run_of_another_store_is_not_shown(run: FoundRun, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        PageMaker(str(tmp_path / "other"), tmp_path / "pages").page(run.manifest.id)


@pytest.mark.parametrize(("error", "levels"), [(BrokenPipeError(), []), (ValueError("a fault of ours"), ["ERROR"])])
def test_a_browser_that_leaves_is_no_error_to_tell(
    server: ViewServer, caplog: pytest.LogCaptureFixture, error: Exception, levels: list[str]
) -> None:
    try:
        raise error
    except Exception:
        server.handle_error(None, None)
    assert [record.levelname for record in caplog.records if record.levelno > logging.DEBUG] == levels
