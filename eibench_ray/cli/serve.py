"""`eibench-ray serve`: one model as an OpenAI-compatible endpoint, for several sweeps to share."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.console import open_console, say
from eibench_ray.errors import ConfigError
from eibench_ray.serve.listen_address import ListenAddress
from eibench_ray.terminal.run_log import lines_shown
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.config.hydra_jobs import HydraJob
    from eibench_ray.config.schema import ModelConfig
    from eibench_ray.serve.server_actor import ServerFacts

# Hydra reads all of these as a text without quotes.
_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./:@+-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The command's options."""

    host: str
    port: int
    served_name: str | None
    api_key_env: str | None
    as_json: bool


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: on all addresses, of any node.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    served_name: Annotated[str | None, typer.Option(help="What requests call the model. Default: model.name.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The environment variable that holds the endpoint's key, here and on the nodes. Default: "
            "where it is set, that in which the engine's own server looks (VLLM_API_KEY), else no key.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Whenever it is ready, print one JSON line on stdout.")
    ] = False,
) -> None:
    """Serve a model to sweeps: `eibench-ray serve model=qwen3_8b --port 8000`, until Ctrl-C or SIGTERM.

    The engine's own server (vLLM's), with the options of conf/model, on the cluster of conf/cluster. Takes Hydra's
    arguments for these two groups: model=OPTION, model.engine.KEY=VALUE, cluster=ray, --config-dir DIR, --cfg job.
    """
    from eibench_ray.cli.hydra_entry import call_hydra
    from eibench_ray.config.schema import ServeConfig

    options = ServeOptions(host, port, served_name, api_key_env, as_json)
    with lines_shown():
        call_hydra(partial(_serve, options), context.args, leaves_traces=False, config_name="serve", schema=ServeConfig)


def _serve(options: ServeOptions, jobs: Sequence[HydraJob], folder: Path) -> None:  # noqa: ARG001 - nothing is written
    """Serves the one model that was composed.

    Raises:
        ConfigError: there are several.
    """
    from eibench_ray.config.load import validate
    from eibench_ray.config.schema import ServeConfig
    from eibench_ray.engines.registry import kind_of
    from eibench_ray.serve.serve_model import serve_model

    if len(jobs) > 1:
        raise ConfigError(f"serve was given {len(jobs)} configurations and starts one server: leave out -m")
    config = validate(jobs[0].raw, ServeConfig)
    own = kind_of(config.model.engine).server_key
    key = options.api_key_env or (own if os.environ.get(own) else None)
    listening = ListenAddress(options.host, options.port, options.served_name or config.model.name, key)

    def announce(facts: ServerFacts) -> None:
        _announce(config.model, replace(listening, port=facts.port), facts, options.as_json)

    serve_model(config, listening, announce, open_console(stderr=True))


def _announce(model: ModelConfig, listening: ListenAddress, facts: ServerFacts, as_json: bool) -> None:
    """Tells where the server is, and how a sweep asks it."""
    base_url = listening.base_url(facts.node)
    overrides = endpoint_overrides(model, listening, base_url)
    if as_json:
        ready = {
            "base_url": base_url,
            "model": listening.served_name,
            "pid": facts.pid,
            "load_s": round(facts.load_s, 1),
            "overrides": overrides,
        }
        typer.echo(json.dumps(ready))
        return
    say(
        f"{base_url} serves {in_line(listening.served_name)} (loaded in {facts.load_s:.0f} s). A sweep asks it "
        f"with\n"
        f"  {in_line(shlex.join(overrides))}\n"
        f"or, as its judge, captioner or asker, with model@judge.model=endpoint, model@captioner=endpoint or "
        f"model@asker=endpoint and the same keys below judge.model, captioner or asker. Ctrl-C ends the server."
    )


def endpoint_overrides(model: ModelConfig, listening: ListenAddress, base_url: str) -> list[str]:
    """Overrides of `run` that make a sweep ask a served model."""
    told = {
        "name": model.name,
        "system": model.system,
        "engine.base_url": base_url,
        "engine.model": listening.served_name,
        "engine.api_key_env": listening.api_key_env,
    }
    texts = [f"model.{key}={_quoted(value)}" for key, value in told.items() if value is not None]
    return ["model=endpoint", f"model.sees_image={str(model.sees_image).lower()}", *texts]


def _quoted(text: str) -> str:
    """A text as a value in Hydra's grammar; quotes are left out where Hydra reads a text without them."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return text if _PLAIN.fullmatch(text) else QuotedString(text, Quote.single).with_quotes()
