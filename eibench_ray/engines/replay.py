"""Predictions recorded elsewhere: models that are retired or were run by hand keep their row."""

from __future__ import annotations

import json
from pathlib import Path

from eibench_ray.config.engines import ReplayEngine
from eibench_ray.engines.base import EngineFacts, RowError
from eibench_ray.errors import EngineError
from eibench_ray.records import Reply, Request, RowErrorKind


class Replay:
    """Reads EIBench's JSONL: `{path: text}` per line, or `{path: {question: text}}` where a picture has several."""

    def __init__(self, config: ReplayEngine, recording: str) -> None:
        self._config = config
        self._recording = Path(recording)
        self._texts: dict[tuple[str, str | None], str | None] = {}

    async def start(self) -> EngineFacts:
        """Reads the file.

        Raises:
            EngineError: it is not there, or a line is malformed.
        """
        try:
            # Not splitlines: JSON may hold other line separators (U+2028, U+0085) as they are.
            lines = self._recording.read_bytes().split(b"\n")
        except OSError as error:
            raise EngineError(
                f"the recorded predictions {self._recording} cannot be read ({error.strerror}): put EIBench's JSONL "
                f"there, or set model.engine.predictions to its folder"
            ) from None
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._read_line(number, line)
        return EngineFacts(f"replay {self._recording.name}", self._config.max_num_seqs)

    async def generate(self, request: Request, image: bytes | None) -> Reply:  # noqa: ARG002 - nothing is sent
        """The recorded text of this picture (and question)."""
        path = request.image_path or request.sample_id
        exact, any_question = (path, request.question), (path, None)
        text = self._texts.get(exact if exact in self._texts else any_question)
        if text is None:
            has_null = exact in self._texts or any_question in self._texts
            what = "null in the place of the" if has_null else "no"
            raise RowError(RowErrorKind.RECORD, f"{self._recording.name} has {what} prediction for {path}")
        return Reply(text, "recorded", 0, 0)

    async def stop(self) -> None:
        """Forgets the texts."""
        self._texts.clear()

    def _read_line(self, number: int, line: bytes) -> None:
        where = f"{self._recording}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # not JSON, or not Unicode
            raise EngineError(f"{where} is not JSON ({error}): fix the line") from None
        if not isinstance(record, dict):
            raise EngineError(f"{where} is a {type(record).__name__}, not an object {{path: text}}: fix the line")
        for path, value in record.items():
            for question, text in value.items() if isinstance(value, dict) else [(None, value)]:
                if text is not None and not isinstance(text, str):  # null: whoever recorded got no answer
                    raise EngineError(f"{where} has a {type(text).__name__} for {path}, not a text: fix the line")
                known = self._texts.setdefault((path, question), text)
                if known is None:
                    self._texts[path, question] = text
                elif text is not None and known != text:
                    raise EngineError(
                        f"{where} has another prediction for {path} than an earlier line: where a picture has several "
                        f"questions, write {{path: {{question: text}}}}"
                    )
