"""Base of the sections of all engine kinds, and the table in which kinds are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from eibench_ray.config.section import Frozen
from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup
from eibench_ray.rows.prices import Price

ENGINE_KINDS = PluginGroup(
    "eibench_ray.engines",
    {
        "vllm": "eibench_ray.engines.vllm.vllm_kind:KIND",
        "transformers": "eibench_ray.engines.transformers.transformers_kind:KIND",
        "openai": "eibench_ray.engines.openai.openai_kind:KIND",
        "embedding": "eibench_ray.engines.embedding.embedding_kind:KIND",
        "replay": "eibench_ray.engines.replay:KIND",
        "echo": "eibench_ray.engines.echo:KIND",
    },
    "engine kind",
)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Whether answers can depend on a key of a section."""

    is_identity: bool  # whether they can; then its value is part of the engine's identity, and so of every step id
    tuning_keys: frozenset[str] = frozenset()  # of a value that is a mapping, the keys on which no answer depends
    is_later: bool = False  # whether its default is no part of an identity, as before there was such a key


T = TypeVar("T")
# A key on which answers can depend, and one that changes how fast, where or at what price they come.
Identity = Annotated[T, KeyUse(is_identity=True)]
Tuning = Annotated[T, KeyUse(is_identity=False)]
# An identity that is younger than the stores that are in use: left at its default, it changes no id.
LaterIdentity = Annotated[T, KeyUse(is_identity=True, is_later=True)]


class EngineSection(Frozen):
    """The section `engine` of a model, as far as every kind has it.

    A kind's own section says of each of its keys whether it is identity or tuning: `dtype: Identity[str] = "auto"`,
    `max_num_seqs: Tuning[PositiveInt] = 64`. A class with a key that does not is refused.

    Attributes:
        says_words: whether its replies are answers; else they are measurements, which a scorer reads.
        key_remedies: keys of other kinds that it does not have, with what to do instead.
    """

    says_words: ClassVar[bool] = True
    key_remedies: ClassVar[Mapping[str, str]] = {}

    kind: Identity[str]  # the engine kind's name; in a kind's own section a Literal of it

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        key_uses(cls)

    @model_validator(mode="before")
    @classmethod
    def _has_no_key_of_another_kind(cls, value: object) -> object:
        for name, remedy in cls.key_remedies.items():
            if isinstance(value, Mapping) and value.get(name) is not None:
                raise ValueError(f"no engine of kind {value['kind']!r} has the key {name}: {remedy}")
        return value


def key_uses(section: type[EngineSection]) -> dict[str, KeyUse]:
    """The keys of a section, and whether answers can depend on them.

    Raises:
        TypeError: a key does not say.
    """
    uses = {"kind": KeyUse(is_identity=True)}
    for name, field in section.model_fields.items():
        if found := [one for one in field.metadata if isinstance(one, KeyUse)]:
            uses[name] = found[-1]
        elif name != "kind":
            raise TypeError(
                f"{section.__name__}.{name} does not say whether answers can depend on it: write Identity[...] or "
                f"Tuning[...] around its type"
            )
    return uses


def identity_of(section: EngineSection) -> dict[str, Any]:
    """The keys of a section on which answers can depend, with plain values."""
    plain, kept = section.model_dump(), dict[str, Any]()
    for name, use in key_uses(type(section)).items():
        if use.is_identity:
            value = plain[name]
            if use.is_later and value == type(section).model_fields[name].default:
                continue
            if use.tuning_keys:
                value = {key: one for key, one in value.items() if key not in use.tuning_keys}
            kept[name] = value
    return kept


@runtime_checkable
class _Kind(Protocol):
    section: type[EngineSection]


@cache
def section_class(kind: str) -> type[EngineSection]:
    """The class of an engine kind's section; the kind is imported.

    Raises:
        ConfigError: there is no such kind, or it cannot be imported.
    """
    return ENGINE_KINDS.find(kind, _Kind).section  # type: ignore[type-abstract]


def _to_section(value: object) -> object:
    """The section in the class of its kind, which names what is wrong with its keys."""
    if not isinstance(value, Mapping):
        return value  # `EngineSection` says what is wrong
    if not isinstance(kind := value.get("kind"), str):
        return {"kind": kind} if "kind" in value else {}
    try:
        found = section_class(kind)
    except ConfigError as error:
        problem = PydanticCustomError("engine_kind", "{reason}", {"reason": str(error)})
        raise ValidationError.from_exception_data(
            "engine", [{"type": problem, "loc": ("kind",), "input": kind}]
        ) from None
    return found.model_validate(value)


AnyEngineSection = Annotated[SerializeAsAny[EngineSection], BeforeValidator(_to_section)]


class PriceSection(Frozen):
    """Price of an engine's tokens, with the attributes of `Price`."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    batch_factor: Annotated[float, Field(gt=0, le=1)] = 0.5

    def to_price(self) -> Price:
        """The same as a plain value."""
        return Price(**dict(self))
