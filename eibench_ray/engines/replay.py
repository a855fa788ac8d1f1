"""Predictions recorded elsewhere: models that are retired or were run by hand keep their row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt

from eibench_ray.config.engine_section import EngineSection, Identity, Tuning
from eibench_ray.config.section import PathText
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.engine_identity import file_digest
from eibench_ray.engines.engine_kind import EngineDescription, EngineKind, EngineSetup, Needs, Site, Surroundings
from eibench_ray.engines.recording import Recording
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import EngineTraits
from eibench_ray.plan.graph import Blocker, EngineSpec
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request


class ReplaySection(EngineSection):
    """Predictions recorded elsewhere, a JSON object per line: `{"id": ..., "answer": ...}` or `{path: text}`."""

    kind: Literal["replay"]
    predictions: Identity[PathText]
    max_num_seqs: Tuning[PositiveInt] = 1024

    @property
    def num_gpus(self) -> int:
        """GPUs that one replica owns."""
        return 0


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

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002 - nothing is sent
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


class ReplayKind(EngineKind[ReplaySection]):
    """Replies that were recorded elsewhere, in a file for each dataset and setting."""

    section = ReplaySection

    def traits(self, section: ReplaySection) -> EngineTraits:
        """It only reads."""
        return EngineTraits(section.max_num_seqs, words="recorded")

    def recording(self, section: ReplaySection, name: str) -> str:
        """The file in the folder of predictions."""
        return str(Path(section.predictions) / f"{name}.jsonl")

    def identity(self, section: ReplaySection, recording: str | None) -> Mapping[str, Any]:
        """The recording's content; its path as long as it is not there."""
        assert recording is not None
        path = Path(recording)
        return {"kind": section.kind, "recording": file_digest(path) if path.is_file() else recording}

    def needs(self, section: ReplaySection, site: Site) -> Needs:  # noqa: ARG002 - nothing is computed
        """No GPU."""
        return Needs(0)

    def blocker(self, section: ReplaySection, spec: EngineSpec, around: Surroundings) -> Blocker | None:  # noqa: ARG002
        """A recording that is not there, or that cannot be used."""
        if spec.recording is None:
            return None
        path = Path(spec.recording)
        if not path.exists():
            lines = 'lines of {path: text} or {"id": ..., "answer": ...}'
            remedy = f"put {lines} there, or set its engine.predictions to another folder"
            return Blocker(spec.name, "no recorded predictions", spec.recording, remedy)
        try:
            Recording(path)
        except EngineError as error:
            return Blocker(spec.name, "recorded predictions that cannot be used", path.name, str(error))
        return None

    def describe(self, section: ReplaySection) -> EngineDescription:
        """Its folder."""
        return EngineDescription("recorded", f"{section.predictions}/")

    def create(self, section: ReplaySection, setup: EngineSetup) -> ReplayEngine:
        """A reader of the file."""
        assert setup.recording is not None
        return ReplayEngine(section, setup.recording)


KIND = ReplayKind()
