"""Recorded answers, a JSON object per line: `{"id": ..., "answer": ...}`, or `{path: text}` by a picture's path.

Lines by path may also be `{path: {question: text}}`, where a picture has several questions. `null` stands for an
answer that whoever recorded did not get. A file has one of the two forms.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eibench_ray.errors import EngineError

# What a line is about: a sample's id, or its picture's path and its question (None: any), and what stands there.
_Key = tuple[str, str | None]


class Recording:
    """The answers of one file.

    Raises:
        EngineError: it cannot be read, a line is malformed, or it has both forms.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[_Key, str | None] = {}
        self._form_from: tuple[bool, int] | None = None
        try:
            # Not splitlines: JSON may hold other line separators (U+2028, U+0085) as they are.
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise EngineError(
                f"the recorded predictions {path} cannot be read ({error.strerror}): put them there, or set "
                f"model.engine.predictions to their folder"
            ) from None
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._read_line(number, line)

    @property
    def is_by_id(self) -> bool:
        """Whether its lines name samples by their ids."""
        return self._form_from is not None and self._form_from[0]

    def keys_of(self, sample_id: str, path: str | None, question: str) -> list[_Key]:
        """Keys under which a sample's answer may stand, the more special one first."""
        if self.is_by_id:
            return [(sample_id, None)]
        return [(path or sample_id, question), (path or sample_id, None)]

    def find(self, sample_id: str, path: str | None, question: str) -> str:
        """The recorded answer to a sample.

        Raises:
            LookupError: there is none; its words say what stands there instead.
        """
        found = [key for key in self.keys_of(sample_id, path, question) if key in self._texts]
        text = self._texts[found[0]] if found else None
        if text is None:
            what = "null in the place of the" if found else "no"
            about = sample_id if self.is_by_id else path or sample_id
            raise LookupError(f"{self._path.name} has {what} prediction for {about}")
        return text

    @property
    def keys(self) -> list[_Key]:
        """Keys of the lines, in their order."""
        return list(self._texts)

    def _read_line(self, number: int, line: bytes) -> None:
        where = f"{self._path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # not JSON, or not Unicode
            raise EngineError(f"{where} is not JSON ({error}): fix the line") from None
        if not isinstance(record, dict):
            raise EngineError(f"{where} is a {type(record).__name__}, not an object {{path: text}}: fix the line")
        is_by_id = "id" in record and "answer" in record
        if self._form_from is None:
            self._form_from = is_by_id, number
        elif self._form_from[0] != is_by_id:
            by_id, by_path = '{"id": ..., "answer": ...}', "{path: text}"
            raise EngineError(
                f"{where} has the form {by_id if is_by_id else by_path}, but line {self._form_from[1]} has "
                f"{by_path if is_by_id else by_id}: write all lines of a file in one form"
            )
        if is_by_id:
            sample_id = record["id"]
            if isinstance(sample_id, bool) or not isinstance(sample_id, str | int):
                raise EngineError(f"{where} has a {type(sample_id).__name__} for its id, not a text: fix the line")
            self._add(where, (str(sample_id), None), record["answer"], "give each sample one line")
            return
        for path, value in record.items():
            for question, text in value.items() if isinstance(value, dict) else [(None, value)]:
                remedy = "where a picture has several questions, write {path: {question: text}}"
                self._add(where, (path, question), text, remedy)

    def _add(self, where: str, key: _Key, text: Any, remedy: str) -> None:
        if text is not None and not isinstance(text, str):  # null: whoever recorded got no answer
            raise EngineError(f"{where} has a {type(text).__name__} for {key[0]}, not a text: fix the line")
        known = self._texts.setdefault(key, text)
        if known is None:
            self._texts[key] = text
        elif text is not None and known != text:
            raise EngineError(f"{where} has another prediction for {key[0]} than an earlier line: {remedy}")
