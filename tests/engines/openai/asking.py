"""Requests, pictures and configurations that the tests of the endpoint engine share."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.rows.request import Request, Sampling

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string", "maxLength": 200},
        "correct": {"type": "integer", "minimum": 0, "maximum": 3},
        "total": {"const": 3},
    },
    "required": ["explanation", "correct", "total"],
    "additionalProperties": False,
}


def endpoint(**options: Any) -> OpenaiSection:
    """An endpoint's configuration."""
    base = {"kind": "openai", "endpoint": "local", "base_url": "http://127.0.0.1:9/v1", "model": "tiny"}
    return OpenaiSection.model_validate(base | options)


def ask(user: str = "why?", **fields: Any) -> Request:
    """A request."""
    base: dict[str, Any] = {
        "sample_id": "s0",
        "digest": "d0",
        "system": None,
        "images": (),
        "sampling": Sampling(0.0, 1.0, 64),
        "seed": 7,
    }
    return Request(user=user, **base | fields)


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
