"""How a value is written so that the shell and Hydra leave it as it is: `'store.root="runs/epoch=3"'`."""

from __future__ import annotations

import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


def quote_for_shell(override: str) -> str | None:
    """The override as it can be pasted into a shell, its value as one text; None where no quotes help.

    Args:
        override: as it was given, e.g. `store.root=runs/epoch=3`.
    """
    key, separator, text = override.partition("=")
    if not separator:
        return None
    quoted = f"{key}={QuotedString(text, Quote.double).with_quotes()}"
    try:
        [parsed] = OverridesParser.create().parse_overrides([quoted])
        value = parsed.value()
    except HydraException:
        return None
    return shlex.quote(quoted) if value == text else None
