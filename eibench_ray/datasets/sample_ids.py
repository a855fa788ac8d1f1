"""Ids of samples that came without: from the picture's path and the question, the same each time."""

from __future__ import annotations

from pathlib import PurePosixPath

from eibench_ray.datasets.layout import digest_text


class SampleIds:
    """Makes ids for one dataset.

    An id has the picture's path without its suffix. Where another picture has taken it (`cat.jpg` and `cat.png`, asked
    the same), it has the whole path.
    """

    def __init__(self) -> None:
        self._paths: dict[str, str | None] = {}

    def make(self, path: str | None, question: str | None) -> str:
        """The id of a sample: of its picture, its question, or both; a sample that comes twice has the same twice.

        Args:
            path: the picture's; None: there is none.
            question: None where each picture has one question only.
        """
        ending = "" if question is None else f"#{digest_text(question)[:8]}"
        sample_id = f"{_stem(path) if path else 'text'}{ending}"
        is_first = self._paths.setdefault(sample_id, path) == path
        return sample_id if is_first else f"{path}{ending}"


def _stem(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix() if PurePosixPath(path).name else path
