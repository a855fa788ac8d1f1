"""Records of batches that were sent, one file each in the store, so that nothing of them is sent again.

A record is written before anything is sent (an intent), again when the provider has the file, and again when it has
made the batch. That is all that must outlive a crash: the replies themselves stay with the provider, from where a later
run takes them again. So nothing needs to be known of which rows were committed, and a record goes when the provider
has deleted its files too. Whoever wants other replies to the same requests sooner removes the folder.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import PurePath

from eibench_ray.errors import StoreError
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL

# How long OpenAI keeps the files of a batch.
KEPT_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One file of requests and its batch."""

    name: str  # ours; the batch carries it as metadata, and the uploaded file is called by it
    line_ids: tuple[str, ...]  # the `custom_id` of each of its lines
    created_at: float  # Unix time, seconds
    file_id: str | None = None  # the provider's name of the uploaded file. None: nothing that costs was sent.
    batch_id: str | None = None  # the provider's name of the batch. None beside a file: it may have been made or not.


class BatchFolder:
    """The records of one engine, in a folder of the store."""

    def __init__(self, folder: PurePath, storage: Storage = LOCAL) -> None:
        self._storage = storage
        self._folder = folder

    def load(self, now: float) -> list[BatchRecord]:
        """The records of what may have been sent, oldest first; intents, and what the provider has forgotten, go.

        Raises:
            StoreError: a record cannot be read.
        """
        records = []
        names = [entry.name for entry in self._storage.list(self._folder)]
        for path in (self._folder / name for name in names if name.endswith(".json")):
            record = self._read(path)
            if record.file_id is None or now - record.created_at > KEPT_S:
                self._storage.remove(path)
            else:
                records.append(record)
        return sorted(records, key=lambda record: record.created_at)

    def new(self, line_ids: tuple[str, ...]) -> BatchRecord:
        """The record of a file that is about to be sent."""
        now = time.time()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        record = BatchRecord(name, line_ids, now)
        self.write(record)
        return record

    def write(self, record: BatchRecord) -> None:
        """Commits a record; the older one of its name is replaced."""
        self._storage.write_json(self._path(record), asdict(record))

    def remove(self, record: BatchRecord) -> None:
        """Forgets a batch of which nothing was executed."""
        self._storage.remove(self._path(record))

    def _path(self, record: BatchRecord) -> PurePath:
        return self._folder / f"{record.name}.json"

    def _read(self, path: PurePath) -> BatchRecord:
        value = self._storage.read_json(path)
        try:
            return BatchRecord(**value | {"line_ids": tuple(value["line_ids"])})
        except (TypeError, KeyError) as error:
            where = self._storage.name(path)
            raise StoreError(f"{where} is no record of a batch ({error}): use the version that wrote it") from None
