"""An error as endpoints write it, in whichever of the known forms, and the HTTP status that it stands for. Pure.

>>> ErrorBody.find({"error": {"code": 402, "message": "Insufficient credits"}}).status
402
>>> ErrorBody.find({"choices": [{"message": {"content": "Sun."}}]}) is None
True
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# Types and codes, in lower case and without anything but letters: OpenAI's, Anthropic's, Google's, and what gateways
# make of them. The status is what each comes with where it does not come with 200.
_STATUS = {
    400: "invalidrequest invalidrequesterror badrequest badrequesterror invalidargument contextlengthexceeded",
    401: "invalidapikey authenticationerror unauthorized unauthorizederror unauthenticated",
    402: "insufficientcredits paymentrequired insufficientbalance",
    403: "permissionerror permissiondenied forbidden accessdenied",
    404: "notfound notfounderror modelnotfound modelnotfounderror modelnotexist",
    429: "ratelimiterror ratelimitexceeded ratelimit toomanyrequests resourceexhausted throttling requests tokens",
    500: "servererror apierror internalerror internalservererror internal",
    503: "overloadederror overloaded serviceunavailable serviceunavailableerror unavailable",
    504: "timeout timeouterror gatewaytimeout deadlineexceeded",
}
_STATUS_OF = {word: status for status, words in _STATUS.items() for word in words.split()}
# Where nothing says what it is: another attempt may succeed.
_UNKNOWN_STATUS = 500
_CODES = ("code", "type", "status", "status_code", "statusCode", "http_code", "error_code", "errorCode")
_MESSAGES = ("message", "detail", "msg", "error_msg", "errorMessage", "error_description")
# What says without the word `error` that there is no completion, if there is none.
_TELLTALE = frozenset((*_CODES[:1], *_CODES[2:], *_MESSAGES, "errors", "success"))


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error as its body states it."""

    message: str
    codes: frozenset[str]  # its code and type, also those of an inner error, in lower case and without "_"
    status: int = _UNKNOWN_STATUS  # the HTTP status that it stands for

    @classmethod
    def read(cls, text: str) -> ErrorBody:
        """The error in the text of a response that is no success."""
        try:
            return cls.of(json.loads(text))
        except (ValueError, RecursionError):
            return cls(text, frozenset())

    @classmethod
    def find(cls, body: object) -> ErrorBody | None:
        """The error that stands where a completion should, in a response that calls itself a success; None: none."""
        if not isinstance(body, dict):
            return None
        if body.get("error"):
            return cls.of(body)
        choices = body.get("choices")
        if isinstance(choices, list) and choices:
            choice = choices[0]
            return cls.of(choice) if isinstance(choice, dict) and choice.get("error") else None
        is_error = body.get("object") == "error" or any(
            not isinstance(body[key], dict) for key in body.keys() & _TELLTALE
        )
        return cls.of(body) if choices is None and is_error else None

    @classmethod
    def of(cls, body: object) -> ErrorBody:
        """Reads an error from plain values."""
        found: Any = body.get("error") or body.get("errors") or body if isinstance(body, dict) else body
        if isinstance(found, list) and found:
            found = found[0]
        if not isinstance(found, dict):
            return cls(str(found), frozenset())
        inner = found.get("innererror")
        said = [found.get(name) for name in _CODES] + [inner.get("code") if isinstance(inner, dict) else None]
        message = next((found[name] for name in _MESSAGES if found.get(name)), None) or json.dumps(found)
        codes = frozenset(code.lower().replace("_", "") for code in said if isinstance(code, str))
        return cls(message if isinstance(message, str) else json.dumps(message), codes, _status(said))

    def says(self, codes: frozenset[str], words: tuple[str, ...] = ()) -> bool:
        """Whether it has one of the codes, or one of the words in its message."""
        return bool(self.codes & codes) or any(word in self.message.lower() for word in words)


def _status(said: list[Any]) -> int:
    """The status that the codes stand for: a number first, as a number or in digits, then a word that is known."""
    for code in said:
        number = int(code) if isinstance(code, str) and re.fullmatch(r"[1-5]\d\d", code) else code
        if isinstance(number, int) and not isinstance(number, bool) and 400 <= number <= 599:
            return number
    words = (re.sub(r"[^a-z]", "", code.lower()) for code in said if isinstance(code, str))
    return next((_STATUS_OF[word] for word in words if word in _STATUS_OF), _UNKNOWN_STATUS)
