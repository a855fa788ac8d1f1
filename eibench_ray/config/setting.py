"""The calls of a setting: their prompts, roles, and the items that they go over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from eibench_ray.config.section import Filled, Frozen
from eibench_ray.rows.choices import ChoiceRule, CompareBy
from eibench_ray.rows.sample import IMAGE_WORDS, TARGET_WORDS

# Who answers a call of a setting: the model under test, who describes pictures, who asks further.
Role = Literal["subject", "captioner", "asker"]


class SamplingConfig(Frozen):
    """Decoding parameters. None: the dataset's protocol decides where it is used, else the project's default.

    None of those below `stop` is sent: then the engine's own default holds.

    Attributes:
        extra: whatever else the engine takes, by the engine's own names; an engine that does not take it is refused.
    """

    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: PositiveInt | None = None
    stop: list[str] = []
    top_k: NonNegativeInt | None = None  # the likeliest tokens, of which one is drawn; 0: all
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None  # a share of the likeliest token's probability
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[PositiveFloat, Field(allow_inf_nan=False)] | None = None
    extra: dict[str, Any] = {}

    @field_validator("extra")
    @classmethod
    def _has_no_key_with_a_name(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if named := sorted(extra.keys() & cls.model_fields.keys()):
            raise ValueError(f"{', '.join(named)} has a key of its own: set it beside extra, not in it")
        return extra


class LinesConfig(Frozen):
    """The lines of an earlier call's answer, as `plan/lines.py` tells them apart."""

    call: str  # the earlier call
    lines: PositiveInt  # how many at most


def _each_kind(value: object) -> str | None:
    return "lines of" if isinstance(value, Mapping | LinesConfig) else "texts" if isinstance(value, list) else None


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Each = Annotated[
    Annotated[list[_Text], Field(min_length=1), Tag("texts")] | Annotated[LinesConfig, Tag("lines of")],
    Discriminator(
        _each_kind,
        custom_error_type="each",
        custom_error_message="should be a list of texts, or {call: NAME, lines: COUNT}",
    ),
]


class ChoicesConfig(Frozen):
    """Choices whose likelihoods are compared, with the attributes of `ChoiceRule`."""

    column: Filled = "choices"
    form: Literal["texts", "letters"] = "texts"
    prefix: str | None = None
    by: CompareBy = "sum"

    def to_rule(self) -> ChoiceRule:
        """The plan's value."""
        return ChoiceRule(**dict(self))


class CallConfig(Frozen):
    """One call of a setting.

    Attributes:
        each: asks once per text, or per line of an earlier answer, which the prompt reads as `{{ item }}`. Later calls
            read a list of pairs: `{% for part in NAME %}{{ part.item }} {{ part.answer }}{% endfor %}`.
        protocol: where the dataset's protocol has the official prompt, e.g. `subject.user_question`; None: nowhere.
        column: an input of the dataset, or metadata, that stands in for this call when nobody answers for its role.
        choices: nothing is generated: the answer is the choice that the model finds the likeliest after the prompt.
    """

    name: Filled  # the word by which later calls read this one's answer, e.g. `{{ caption }}`.
    role: Role  # who answers
    image: bool  # whether the picture is sent
    each: _Each | None = None
    prompt: str  # Jinja2 text over the sample's fields and earlier calls' answers; the project's own prompt
    system: str | None = None
    protocol: str | None = None
    column: Filled | None = None
    sampling: SamplingConfig | None = None
    choices: ChoicesConfig | None = Field(default=None, exclude_if=lambda choices: choices is None)

    @model_validator(mode="after")
    def _compares_or_generates(self) -> CallConfig:
        if self.choices is not None and (self.role, self.each, self.sampling) != ("subject", None, None):
            raise ValueError(
                f"call {self.name!r} compares choices: its role must be 'subject', and without 'each' and 'sampling', "
                f"as nothing is generated"
            )
        return self


class SettingConfig(Frozen):
    """The calls with which a model is asked; the last one is the answer that is judged.

    Attributes:
        prompt_source: `auto`: the dataset's official prompt where there is one; `official` insists; `own`: never.
        repeats: answers per sample, each with a seed of its own and judged by itself; they show the model's own noise.
            The subject's calls are made anew each time, but for those at temperature 0; others share theirs.
    """

    name: Filled
    prompt_source: Literal["auto", "official", "own"] = "auto"
    sampling: SamplingConfig = SamplingConfig()
    repeats: PositiveInt = 1
    calls: Annotated[list[CallConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _calls_are_named_once(self) -> SettingConfig:
        names = [call.name for call in self.calls]
        if len(set(names)) != len(names):
            raise ValueError(f"two calls have the same name: {', '.join(names)}")
        if self.calls[-1].role != "subject" or self.calls[-1].each is not None:
            raise ValueError("the last call is the answer that is judged: its role must be 'subject', without 'each'")
        return self

    @model_validator(mode="after")
    def _each_has_what_it_goes_over(self) -> SettingConfig:
        earlier: set[str] = set()
        for call in self.calls:
            if isinstance(call.each, LinesConfig) and call.each.call not in earlier:
                raise ValueError(
                    f"call {call.name!r} goes over the lines of {call.each.call!r}, which is no earlier call with one "
                    f"answer"
                )
            if isinstance(call.each, list) and len(set(call.each)) != len(call.each):
                raise ValueError(f"call {call.name!r} goes over the same text twice")
            if call.each is not None and call.column is not None:
                raise ValueError(f"call {call.name!r} goes over several texts: no column can stand in for it")
            if call.name in ("item", *TARGET_WORDS, *IMAGE_WORDS):
                raise ValueError(f"no call can be named {call.name!r}: prompts read something else under that word")
            if call.each is None:
                earlier.add(call.name)
        return self
