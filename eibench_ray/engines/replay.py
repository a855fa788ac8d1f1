"""Predictions recorded elsewhere: models that are retired or were run by hand keep their row."""

from __future__ import annotations

from pathlib import Path

from eibench_ray.config.engines import ReplaySection
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.recording import Recording
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request


class ReplayEngine:
    """Answers with what a file has for the sample."""

    def __init__(self, config: ReplaySection, recording: str) -> None:
        self._config = config
        self._path = Path(recording)
        self._recording: Recording | None = None

    async def start(self) -> EngineFacts:
        """Reads the file.

        Raises:
            EngineError: it is not there, a line is malformed, or it has both forms.
        """
        self._recording = Recording(self._path)
        return EngineFacts(f"replay {self._path.name}", self._config.max_num_seqs)

    async def generate(self, request: Request, image: bytes | None) -> Reply:  # noqa: ARG002 - nothing is sent
        """The recorded text of this sample."""
        assert self._recording is not None
        try:
            text = self._recording.find(request.sample_id, request.image_path, request.question)
        except LookupError as error:
            raise RowError(RowErrorKind.RECORD, str(error)) from None
        return Reply(text, "recorded", 0, 0)

    async def stop(self) -> None:
        """Forgets the texts."""
        self._recording = None
