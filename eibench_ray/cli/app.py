"""The command `eibench-ray`."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import typer

from eibench_ray.cli.benchmark_commands import PluginCommands
from eibench_ray.cli.checkpoint import checkpoint
from eibench_ray.cli.compare import compare
from eibench_ray.cli.doctor import doctor
from eibench_ray.cli.fsck import fsck
from eibench_ray.cli.gc import gc
from eibench_ray.cli.init import init
from eibench_ray.cli.list_runs import runs
from eibench_ray.cli.models import models
from eibench_ray.cli.prefetch import prefetch
from eibench_ray.cli.prepare import app as prepare_app
from eibench_ray.cli.run_commands import export, report, rescore, status
from eibench_ray.cli.serve import serve
from eibench_ray.cli.shell_completion import SweepCommand
from eibench_ray.cli.show import show
from eibench_ray.cli.simulate import simulate
from eibench_ray.cli.submit import app as submit_app
from eibench_ray.cli.sweep_commands import plan, run
from eibench_ray.cli.track import track
from eibench_ray.cli.view import view
from eibench_ray.errors import ConfigError, EibenchError
from eibench_ray.storage.atomic_files import FULL
from eibench_ray.terminal.run_log import ScreenHandler
from eibench_ray.versions import __version__

# Options that these do not know go on to Hydra.
TO_HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True}

_VERBOSE = ("-v", "--verbose")


class Commands(PluginCommands):
    """The commands, behind which -v stands as well as before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, -v before the command's name."""
        end = args.index("--") if "--" in args else len(args)
        is_verbose = any(argument in _VERBOSE for argument in args[:end])
        rest = [argument for argument in args[:end] if argument not in _VERBOSE]
        return super().parse_args(ctx, [*_VERBOSE[:is_verbose], *rest, *args[end:]])


app = typer.Typer(
    cls=Commands,
    help="Large inference sweeps for benchmarks: models x settings x datasets x judges, as one plan.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
app.command(cls=SweepCommand, context_settings=TO_HYDRA)(run)
app.command(cls=SweepCommand, context_settings=TO_HYDRA)(plan)
app.command(cls=SweepCommand, context_settings=TO_HYDRA)(prefetch)
app.command(cls=SweepCommand, context_settings=TO_HYDRA)(simulate)
app.command(cls=SweepCommand, context_settings=TO_HYDRA)(serve)
app.command()(init)
app.command()(models)
app.command()(runs)
app.command()(status)
app.command()(report)
app.command()(show)
app.command()(compare)
app.command()(rescore)
app.command()(export)
app.command()(track)
app.command()(view)
app.command()(fsck)
app.command()(gc)
prepare_app.command("checkpoint")(checkpoint)
app.add_typer(prepare_app, name="prepare")
app.add_typer(submit_app, name="submit")
app.command()(doctor)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log every change of state; also behind a command."),
) -> None:
    """Common options."""
    check_home()
    if version:
        typer.echo(__version__)
        raise typer.Exit
    screen = ScreenHandler(is_verbose=verbose)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[screen])


def check_home() -> None:
    """Refuses to start where nobody knows the user's home: caches, keys and tokens lie there.

    Raises:
        ConfigError: HOME is not set, and the machine does not know the user.
    """
    try:
        Path.home()
    except RuntimeError:
        raise ConfigError(
            f"HOME is not set, and this machine does not know user {os.getuid()}: export HOME=FOLDER that you may "
            f"write to, as caches, keys and Ray's token lie there"
        ) from None


def main() -> None:
    """Runs the command and ends the process."""
    try:
        _run()
    except SystemExit as ended:
        # Few commands import it: it has imported Ray.
        session: Any = sys.modules.get("eibench_ray.driver.ray_session")
        if session is not None:
            session.end_process(ended)
        raise


def _run() -> None:
    """Runs the command; an error for the user is one paragraph on stderr, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 has no sign for some of what is shown.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except EibenchError as error:
        if os.environ.get("EIBENCH_TRACEBACK") == "1":
            raise
        sys.stderr.write(f"eibench-ray: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("eibench-ray: interrupted\n")
        sys.exit(130)
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = error.filename or "what the command prints"
        sys.stderr.write(
            f"eibench-ray: {where} cannot be written ({error.strerror}): free some space, then repeat it\n"
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its end, and says so in its own way
        sys.exit(1)


if __name__ == "__main__":
    main()
