"""Event files of TensorBoard, written by its own record writer, which needs no TensorFlow."""

from __future__ import annotations

import io
import itertools
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

from eibench_ray.tracking.flat_config import Leaf, flatten
from eibench_ray.tracking.thumbnails import thumbnail
from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, TrackedRun, TrackedTable
from eibench_ray.visible_text import in_line, in_page

VALUE_CHARS = 200  # of a text in the table of settings
_NO_NAME = re.compile(r"[^\w@. -]+")
_numbers = itertools.count()


class EventFileRun(TrackedRun):
    """The event file of one tracked run, with what was known when it was opened."""

    def __init__(self, facts: RunFacts, folder: Path) -> None:
        self._key = facts.key
        place = folder.joinpath(*(_NO_NAME.sub("_", part)[:80] or "_" for part in facts.name.split("/")))
        place.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._file = (place / name).open("xb")
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        settings = {key: _shorten(value) for key, value in flatten(facts.config)}
        self._add_settings(settings | {"name": in_line(facts.name), "job_type": facts.job})

    def log(self, progress: Progress) -> None:
        """Adds one point to each scalar."""
        self._add_scalars(progress.all_figures, progress.rows_done)

    def finish(self, facts: RunFacts, final: Final) -> Delivery:
        """Writes figures, tables and addresses, and closes the file; files are not copied."""
        self._add_scalars(final.scores, facts.num_rows)
        for name, table in final.tables.items():
            self._add_text(name, to_markdown(table), facts.num_rows)
            self._add_pictures(name, table, facts.num_rows)
        if places := [*(path.absolute().as_uri() for path in final.files), *final.addresses.values()]:
            self._add_text("addresses", "\n".join(f"- {in_line(place)}" for place in places), facts.num_rows)
        self._end("STATUS_SUCCESS")
        return Delivery("online", self._key)

    def fail(self) -> None:
        """Closes the file of a run that was not finished."""
        self._end("STATUS_FAILURE")

    def _end(self, status: str) -> None:
        ended = SessionEndInfo(status=status, end_time_secs=time.time())
        self._add_hparams(hparams.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=ended))
        self._file.close()

    def _add_settings(self, settings: Mapping[str, Leaf]) -> None:
        started = SessionStartInfo(group_name=self._key, start_time_secs=time.time())
        for name, value in settings.items():
            if isinstance(value, bool):
                started.hparams[name].bool_value = value
            elif isinstance(value, str):
                started.hparams[name].string_value = value
            else:
                started.hparams[name].number_value = value
        self._add_hparams(hparams.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=started))

    def _add_hparams(self, tag: str, data: HParamsPluginData) -> None:
        metadata = hparams.create_summary_metadata(data)
        self._add(Summary.Value(tag=tag, metadata=metadata, tensor=hparams.NULL_TENSOR), step=0)

    def _add_scalars(self, figures: Mapping[str, float | int], step: int) -> None:
        self._add(*(Summary.Value(tag=name, simple_value=float(value)) for name, value in figures.items()), step=step)

    def _add_text(self, tag: str, markdown: str, step: int) -> None:
        metadata: SummaryMetadata = text.create_summary_metadata(tag, "")
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()], tensor_shape=shape)
        self._add(Summary.Value(tag=tag, metadata=metadata, tensor=tensor), step=step)

    def _add_pictures(self, name: str, table: TrackedTable, step: int) -> None:
        for row in table.rows:
            for column, value in zip(table.columns, row, strict=True):
                image = thumbnail(value) if isinstance(value, bytes) else None
                if image is not None:
                    buffer = io.BytesIO()
                    image.convert("RGB").save(buffer, "JPEG")
                    shown = Summary.Image(
                        height=image.height, width=image.width, colorspace=3, encoded_image_string=buffer.getvalue()
                    )
                    self._add(Summary.Value(tag=f"{name}/{row[0]!s}/{column}", image=shown), step=step)

    def _add(self, *values: Summary.Value, step: int) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()


def _shorten(value: Leaf) -> Leaf:
    return in_line(value)[:VALUE_CHARS] if isinstance(value, str) else value


def to_markdown(table: TrackedTable) -> str:
    """A table as TensorBoard shows it, without its pictures."""
    kept = [at for at in range(len(table.columns)) if not any(isinstance(row[at], bytes) for row in table.rows)]
    head, *rows = [[_cell(line[at]) for at in kept] for line in (table.columns, *table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(kept), *rows))


def _cell(value: str | float | bool | bytes | None) -> str:
    """A value in a cell of Markdown, as it stands: nothing of it is a mark or a tag."""
    if value is None:
        return ""
    escaped = re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", in_page(value)) if isinstance(value, str) else str(value)
    return escaped.replace("\n", " ↵ ")
