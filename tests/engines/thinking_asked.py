"""Requests for a checkpoint that thinks."""

from __future__ import annotations

from asking_models import request

SCHEMA = {
    "type": "object",
    "properties": {"named": {"type": "boolean"}},
    "required": ["named"],
    "additionalProperties": False,
}
ASKED = {
    "answered": request("Why?", max_tokens=60),
    "other": request("What is it?", max_tokens=60),
    "judged": request("Why?", max_tokens=60, json_schema=SCHEMA),
    "cut": request("Why?", max_tokens=6),
    "judged and cut": request("Why?", max_tokens=6, json_schema=SCHEMA),
    "marked": request("Why </think> not?", max_tokens=60),
    "budgeted": request("Why?", max_tokens=60, extra={"thinking_token_budget": 3}),
}
