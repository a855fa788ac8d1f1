r"""JSON that can stand in a page: nothing in it ends its script, acts on a reader, or is no Unicode.

>>> to_page_json({"name": "</script>"})
'{"name":"\\u003c/script\\u003e"}'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from eibench_ray.visible_text import in_page

_ENDS_SCRIPT = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def to_page_json(value: Any) -> str:
    """The value as compact JSON; what acts on a reader is visible in its texts, and what is no number is null."""
    text = json.dumps(_made_visible(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ENDS_SCRIPT)


def _made_visible(value: Any) -> Any:
    if value is None or type(value) is int:  # most of a page's values are places of texts
        return value
    if isinstance(value, str):
        return in_page(value)
    if isinstance(value, list | tuple):
        return [_made_visible(inner) for inner in value]
    if isinstance(value, Mapping):
        return {in_page(str(key)): _made_visible(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
