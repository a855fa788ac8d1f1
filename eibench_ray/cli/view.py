"""The command `view`: a store's runs in this machine's browser, also while they go on."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from eibench_ray.cli.choose_run import choose_run
from eibench_ray.cli.console import say
from eibench_ray.cli.shell_completion import complete_run
from eibench_ray.visible_text import in_line


def view(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|STORE]",
            help="A run (its folder, its id, or the beginning of its id), or a store; the latest run if left out.",
            autocompletion=complete_run,
        ),
    ] = None,
    store: Annotated[str | None, typer.Option("--store", help="The run's store, to find the run by its id.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0: a free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser; the address is printed anyway.")] = False,
) -> None:
    """Show runs in the browser: figures, charts and samples, of a run that goes on as its slices come.

    Listens on 127.0.0.1 alone, and answers only who has the address that it prints. Ctrl-C ends it.
    """
    from eibench_ray.runs.page_maker import PageMaker
    from eibench_ray.runs.view_server import ADDRESS, ViewServer

    root, path = _find(what, store)
    with tempfile.TemporaryDirectory(prefix="view-", ignore_cleanup_errors=True) as folder:
        server = ViewServer(PageMaker(root, Path(folder)), port)
        url = server.url(path)
        say(in_line(f"Store: {root}"))
        say(url)
        say(
            f"From another machine: ssh -N -L {server.port}:{ADDRESS}:{server.port} THIS_MACHINE, then open the same "
            f"address there. Ctrl-C ends it."
        )
        if not no_open:
            webbrowser.open(url)
        # Not by an exception, which might be raised where nobody hears of it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
        server.serve_forever(poll_interval=0.2)
        server.server_close()
    say("ended")
    # A page may still be in the making, in threads of libraries that an interpreter waits for as it ends.
    sys.stdout.flush()
    os._exit(0)


def _find(what: str | None, store: str | None) -> tuple[str, str]:
    """The store that is meant, and the path of the page that is opened first."""
    from eibench_ray.store.slice_store import Store
    from eibench_ray.store.store_paths import StorePaths

    if what is None and store is not None:
        return Store(store).root, "/"
    if what is not None and ("://" in what or Path(StorePaths(Path(what)).version).is_file()):
        return Store(what).root, "/"
    found = choose_run(what, store)
    return found.store.root, f"/run/{found.manifest.id}/"
