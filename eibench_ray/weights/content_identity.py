"""The content identity of a checkpoint folder, without reading whole weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from eibench_ray.errors import ConfigError
from eibench_ray.weights.checkpoint_files import ADAPTER_CONFIG

# Read whole: they are small, and each of them changes what the engine sends or answers.
_WHOLE = (
    "config.json",
    "generation_config.json",
    "*preprocessor_config.json",
    "processor_config.json",
    "chat_template*",
    "tokenizer*",
    "*.model",
    "vocab.*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "quantize_config.json",
    "*.py",
)
_TENSORS = "*.safetensors"
_BLOBS = ("*.bin", "*.gguf")
_TENSOR_SAMPLE = 4096
_BLOB_SAMPLE = 1 << 20
_MAX_HEADER = 100_000_000  # the safetensors format's own limit


def identity(folder: Path) -> str:
    """A digest of what the checkpoint is: 32 hexadecimal digits that neither place nor time changes.

    Configuration, tokenizer and templates count whole. Of every safetensors file its size, header and the first 4 KiB
    of each tensor count, since fine-tunes of one base differ in their values alone; of other weights the size, the
    first and the last MiB (where a torch archive keeps the checksums of its tensors).

    Raises:
        ConfigError: the folder is no checkpoint, or one of its files cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is no checkpoint: it has no config.json; name a folder in Hugging Face's layout")
    return _digest(folder, _WHOLE)


def adapter_identity(folder: Path) -> str:
    """A digest of what an adapter is: its configuration whole, and its weights as those of a checkpoint.

    Raises:
        ConfigError: the folder is no adapter, or one of its files cannot be read.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ConfigError(f"{folder} is no adapter: it has no {ADAPTER_CONFIG}; name a folder as PEFT saves it")
    return _digest(folder, (ADAPTER_CONFIG,))


def _digest(folder: Path, whole: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, chunks in _parts(folder, whole):
        try:
            content = hashlib.blake2b(b"".join(chunks), digest_size=16).digest()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the checkpoint file {path} cannot be read ({error}): copy or download it again"
            ) from error
        digest.update(f"{path.name}\0".encode() + content)
    return digest.hexdigest()


def _parts(folder: Path, whole: tuple[str, ...]) -> Iterator[tuple[Path, Iterator[bytes]]]:
    """Each file that counts, in a fixed order, with the chunks of it that do."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.is_file():
            continue
        if any(path.match(pattern) for pattern in whole):
            yield path, _whole(path)
        elif path.match(_TENSORS):
            yield path, _tensor_samples(path)
        elif any(path.match(pattern) for pattern in _BLOBS):
            yield path, _blob_samples(path)


def _whole(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()


def _tensor_samples(path: Path) -> Iterator[bytes]:
    """Size, header and the first bytes of each tensor. Source: the safetensors format, 8 + N bytes of header."""
    with path.open("rb") as file:
        size = _size(file)
        yield size.to_bytes(8, "little")
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, _MAX_HEADER):
            raise ValueError("its header is longer than the file: not safetensors, or a Git LFS pointer")
        header = file.read(length)
        yield header
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        for begin, end in sorted(entry["data_offsets"] for entry in tensors.values()):
            file.seek(8 + length + begin)
            yield file.read(min(end - begin, _TENSOR_SAMPLE))


def _blob_samples(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        size = _size(file)
        yield size.to_bytes(8, "little")
        yield file.read(_BLOB_SAMPLE)
        file.seek(max(0, size - _BLOB_SAMPLE))
        yield file.read(_BLOB_SAMPLE)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
