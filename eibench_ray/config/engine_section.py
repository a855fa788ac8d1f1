"""What the sections of all engine kinds have in common, and where kinds are found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError
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


class EngineSection(Frozen):
    """The section `engine` of a model, as far as every kind has it.

    Attributes:
        kind: the engine kind's name; in a kind's own section a Literal of it.
        says_words: whether its replies are answers; else they are measurements, which a scorer reads.
    """

    says_words: ClassVar[bool] = True

    kind: str


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
    """What an engine's tokens cost, with the attributes of `Price`."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    batch_factor: Annotated[float, Field(gt=0, le=1)] = 0.5

    def to_price(self) -> Price:
        """The same as a plain value."""
        return Price(**dict(self))
