"""A benchmark's official prompt as data: texts, decoding parameters, and when a judge's reply is accepted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eibench_ray.datasets.format_template import to_jinja
from eibench_ray.errors import DataError
from eibench_ray.rows.request import AcceptRule
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL

__all__ = ["PromptSet", "SourcePrompt", "SourceSampling", "bounded_rule", "dump_protocol", "load_protocol", "to_jinja"]

# The published GPT scripts ask for ever until a reply is acceptable. A sweep must end: after 20 replies at temperature
# 0.1 another one is no news, and an empty reply has no score, so the official scoring leaves the sample out.
UNBOUNDED_ATTEMPTS = 20
UNBOUNDED_FALLBACK = ""

_ACCEPT_IF = re.compile(r"(?P<lower>lower-cased )?reply contains '(?P<contains>(?s:.*))'")


@dataclass(frozen=True, slots=True)
class SourceSampling:
    """Decoding parameters that the protocol prescribes; None where it leaves them open."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SourcePrompt:
    """Text of one call in `str.format` syntax over {question}, {record} and {reference}.

    Attributes:
        model: the model that the published script names, if it names one. For the reader: it is no part of the prompt.
    """

    system: str | None
    user: str
    sampling: SourceSampling = SourceSampling()
    accept: AcceptRule | None = None  # when a judge's reply is accepted; None: always
    model: str | None = None


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The official prompts that are known, by name."""

    subject: Mapping[str, SourcePrompt] = field(default_factory=dict)  # for a model under test, e.g. `user_question`
    judge: Mapping[str, SourcePrompt] = field(default_factory=dict)  # for a judge, e.g. `llama3_basic`

    @property
    def digest(self) -> str:
        """The digest of everything that the protocol prescribes, 32 hexadecimal digits."""
        canonical = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def bounded_rule(contains: str, ignore_case: bool, attempts: int | None, fallback: str | None) -> AcceptRule:
    """An acceptance rule that ends: where the script asks for ever, after 20 attempts, with an empty reply."""
    return AcceptRule(
        contains, ignore_case, attempts or UNBOUNDED_ATTEMPTS, UNBOUNDED_FALLBACK if fallback is None else fallback
    )


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sampling(_Section):
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None

    def to_sampling(self) -> SourceSampling:
        return SourceSampling(self.temperature, self.top_p, self.max_tokens)


class _SubjectEntry(_Section):
    system: str | None = None
    user: str
    sampling: _Sampling | None = None


class _JudgeEntry(_SubjectEntry):
    model: str | None = None
    accept_if: Annotated[str, Field(pattern=rf"^{_ACCEPT_IF.pattern}$")] | None = None
    attempts: Annotated[int, Field(gt=0)] | Literal["unbounded"] = "unbounded"
    on_exhausted: str | None = None


class _File(_Section):
    # `sampling` stands among the subject's prompts and holds for those that have none of their own.
    subject: dict[str, _SubjectEntry | _Sampling] = {}
    judge: dict[str, _JudgeEntry] = {}
    score: dict[str, Any] = {}  # how the published scripts compute scores: the score package knows

    def to_protocol(self) -> PromptSet:
        shared = self.subject.get("sampling")
        default = shared if isinstance(shared, _Sampling) else _Sampling()
        subject = {
            name: SourcePrompt(entry.system, entry.user, (entry.sampling or default).to_sampling())
            for name, entry in self.subject.items()
            if isinstance(entry, _SubjectEntry)
        }
        return PromptSet(subject, {name: self._judge(name, entry) for name, entry in self.judge.items()})

    def _judge(self, name: str, entry: _JudgeEntry) -> SourcePrompt:
        # A variant that does not say when a reply is accepted does as its family's basic variant.
        basic = self.judge.get(f"{name.partition('_')[0]}_basic", entry)
        match = _ACCEPT_IF.fullmatch(entry.accept_if or basic.accept_if or "")
        accept = None
        if match:
            attempts = None if entry.attempts == "unbounded" else entry.attempts
            accept = bounded_rule(match["contains"], match["lower"] is not None, attempts, entry.on_exhausted)
        return SourcePrompt(
            entry.system, entry.user, (entry.sampling or _Sampling()).to_sampling(), accept, entry.model
        )


def load_protocol(path: PurePath, storage: Storage = LOCAL) -> PromptSet:
    """The protocol in a `protocol.yaml`.

    Raises:
        DataError: the file cannot be read, is not of this shape, or a text in it has an unknown placeholder.
    """
    try:
        file = _File.model_validate(_read_yaml(path, storage))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its top level"
        raise DataError(f"the protocol {path} is not understood at {where} ({first['msg']}): fix it there") from error
    protocol = file.to_protocol()
    for prompt_source in (*protocol.subject.values(), *protocol.judge.values()):
        to_jinja(prompt_source.system or "")
        to_jinja(prompt_source.user)
    return protocol


def _read_yaml(path: PurePath, storage: Storage) -> object:
    content = storage.read(path) or b""
    try:
        return yaml.safe_load(content.decode())
    # Any kind: PyYAML lets through what building a value raises: ValueError (a 13th month), KeyError (`!!bool x`),
    # AttributeError (`!!timestamp x`), RecursionError.
    except Exception as error:
        raise DataError(f"the protocol {path} cannot be read ({error}): prepare the dataset again") from error


def dump_protocol(protocol: PromptSet) -> str:
    """The protocol as the text of a `protocol.yaml`."""
    subject = {name: _to_entry(prompt_source) for name, prompt_source in protocol.subject.items()}
    judge = {
        name: _to_entry(prompt_source) | _to_acceptance(prompt_source.accept)
        for name, prompt_source in protocol.judge.items()
    }
    return yaml.safe_dump({"subject": subject, "judge": judge}, sort_keys=False, allow_unicode=True, width=120)


def _to_entry(prompt_source: SourcePrompt) -> dict[str, Any]:
    sampling = {name: value for name, value in asdict(prompt_source.sampling).items() if value is not None}
    entry = {
        "system": prompt_source.system,
        "user": prompt_source.user,
        "sampling": sampling,
        "model": prompt_source.model,
    }
    return {name: value for name, value in entry.items() if value is not None}


def _to_acceptance(rule: AcceptRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    accept_if = f"{'lower-cased ' if rule.ignore_case else ''}reply contains '{rule.contains}'"
    return {"accept_if": accept_if, "attempts": rule.attempts, "on_exhausted": rule.fallback}
