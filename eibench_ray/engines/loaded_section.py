"""The section that engines share which load a language model's weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from eibench_ray.config.engine_section import EngineSection, Identity, LaterIdentity, Tuning
from eibench_ray.config.secrets import has_login, is_secret_name
from eibench_ray.config.section import Frozen, PathText
from eibench_ray.plan.engine_traits import PythonEnvironment


class EnvironmentSection(Frozen):
    """A Python environment of an engine's own, so that engines which need different packages run side by side.

    Exactly one of `uv`, `pip` and `py_executable` is set. The first two make Ray copy the environment that it runs in,
    on each node where the engine starts, and install over the copy; for `uv` Ray needs the packages uv and virtualenv.

    Attributes:
        uv, pip: packages that uv or pip installs, e.g. `vllm==0.31.0`.
        py_executable: the Python of an environment that is there on every node, with this eibench-ray and this Ray.
    """

    uv: Annotated[list[str], Field(min_length=1)] | None = None
    pip: Annotated[list[str], Field(min_length=1)] | None = None
    options: list[str] = []  # what else is said to `uv pip install` or `pip install`
    py_executable: Annotated[str, Field(pattern=r"^/")] | None = None

    @property
    def packages(self) -> list[str]:
        """Packages to install, by uv or by pip."""
        return self.uv or self.pip or []

    def to_environment(self) -> PythonEnvironment:
        """The plan's value."""
        uv, pip = tuple(self.uv or ()), tuple(self.pip or ())
        return PythonEnvironment(uv, pip, tuple(self.options), self.py_executable)

    @model_validator(mode="after")
    def _is_one_of_three_without_secrets(self) -> EnvironmentSection:
        if sum(way is not None for way in (self.uv, self.pip, self.py_executable)) != 1:
            raise ValueError("set one of uv, pip and py_executable")
        if self.py_executable and self.options:
            raise ValueError("options are for uv and pip: nothing is installed beside py_executable")
        if any(has_login(text) for text in (*self.packages, *self.options)):
            raise ValueError(
                "an address with a name or password looks like a secret: export UV_INDEX_URL or PIP_INDEX_URL where "
                "the cluster is started; a config is written to disk"
            )
        return self


# Variables that a chat template gets in any case.
_TEMPLATE_KEYS = frozenset(
    ("messages", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "tools", "adds_bos")
)


class LoadedSection(EngineSection):
    """Keys of all engines that load weights into a replica.

    Attributes:
        source: a Hugging Face id, a folder, or `checkpoint:NAME` for one that `eibench-ray prepare checkpoint` builds.
        chat_template: a Jinja file that replaces the checkpoint's own, or `package:NAME` for one that comes with
            this package; None keeps it.
        reasoning: how thinking is told from the answer: `auto`: as the checkpoint's chat template shows that it thinks;
            `none`: the reply is the answer as it stands.
        chat_template_kwargs: variables of the chat template, e.g. `enable_thinking: false`.
        reasoning_tokens: what it may think beyond a reply's own limit, in tokens.
        logprobs: whether the mean log probability of an answer's tokens is stored; rows that are there stay.
        runtime_env: a Python environment of its own; None: that of the sweep. What it has is part of the identity.
    """

    source: Identity[PathText]
    revision: Identity[str | None] = None  # the hub's commit or tag; None for a folder
    dtype: Identity[str] = "auto"
    chat_template: Identity[PathText | None] = None
    reasoning: LaterIdentity[str] = "auto"
    chat_template_kwargs: LaterIdentity[dict[str, Any]] = {}
    reasoning_tokens: LaterIdentity[NonNegativeInt] = 0
    trust_remote_code: Identity[bool] = False
    logprobs: Tuning[bool] = False
    env: Tuning[dict[str, str]] = {}  # environment variables of the replica's process; never part of the identity
    runtime_env: Identity[EnvironmentSection | None] = None

    @field_validator("chat_template_kwargs")
    @classmethod
    def _leaves_what_is_decided_here(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(value.keys() & _TEMPLATE_KEYS):
            raise ValueError(f"{', '.join(taken)} is decided by the request or by a key of its own: leave it out")
        return value

    @model_validator(mode="after")
    def _env_has_no_secret(self) -> LoadedSection:
        if names := [name for name in self.env if is_secret_name(name)]:
            raise ValueError(
                f"{', '.join(names)} looks like a secret: export it where the cluster is started; "
                f"a config is written to disk"
            )
        return self

    @model_validator(mode="after")
    def _code_is_pinned(self) -> LoadedSection:
        if self.trust_remote_code and is_hub_id(self.source) and not is_commit(self.revision):
            raise ValueError(
                f"trust_remote_code runs code from {self.source} of the hub, which its owner may change at any time; "
                f"revision is {self.revision!r}: set it to a commit, in all its 40 digits (the model's page lists them "
                f"under Files, History), after a look at the code; or set source to a folder"
            )
        return self


def is_pinned(source: str, revision: str | None) -> bool:
    """Whether weights stay what they are: a commit of the hub, a folder, or a checkpoint that is built."""
    return not is_hub_id(source) or is_commit(revision)


def is_hub_id(source: str) -> bool:
    """Whether a source is on the hub: `name` or `owner/name`, and no folder of that name is here."""
    is_path = source.startswith(("/", ".", "~", "checkpoint:")) or source.count("/") > 1
    return not is_path and not Path(source).expanduser().is_dir()


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit's full hash; branches and tags can be moved."""
    return revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None
