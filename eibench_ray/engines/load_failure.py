"""The reason why an engine does not load or answer, from what its libraries raise."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A library of another build: CUDA's torchaudio beside a torch for the CPU, say.
_MISFIT = re.compile(r"\.so\b|undefined symbol|operator \w+::\w+ does not exist")


def reason_of(error: BaseException) -> str:
    """The first message in an error's chain of causes, in one line; a library's own wrapper often has none."""
    chain = list(_causes(error))
    message = next((str(link) for link in chain if str(link).strip()), type(chain[-1]).__name__)
    return " ".join(message.split())


def load_reason(error: BaseException) -> str:
    """The reason why a model does not load; where packages do not go together, with what says which."""
    reason = reason_of(error)
    if any(_MISFIT.search(str(link)) for link in _causes(error)):
        return f"{reason}; packages there do not go together: `eibench-ray doctor` on that node says which"
    return reason


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
