"""Tables that the `datasets` package reads: from the Hugging Face hub, or from a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.errors import DataError
from eibench_ray.versions import install_command

_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")


def read_hf(name: str, split: str | None = None) -> Table:
    """The rows of a dataset on the Hugging Face hub, or in a folder (by `save_to_disk`, or of files it can read).

    Each row has all columns as plain values, whatever format the dataset was saved with; labels have their names, and
    pictures their files' bytes.

    Args:
        name: a dataset's id on the hub, or a folder.
        split: None takes `test`, or what a folder with a single saved split has.

    Raises:
        DataError: the `datasets` package is not installed, or it does not find the dataset or its split.
    """
    wanted = split or "test"
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name} needs the package `datasets`, which is not installed: run `{install_command('datasets')}`, "
            f"or export it to Parquet and use `eibench-ray prepare parquet`"
        ) from error
    folder = Path(name)
    try:
        if folder.is_dir() and any((folder / file).is_file() for file in _SAVED):
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(name, split=wanted)
    # Any kind: its builders raise errors of their own, of pandas and of Arrow.
    except Exception as error:
        raise DataError(
            f"`datasets` does not give the split {wanted!r} of {name} ({_first_line(error)}): check the name, and name "
            f"the split with --split"
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if wanted not in found:
            raise DataError(f"{name} has no split {wanted!r}; it has {', '.join(found)}: name one with --split")
        found = found[wanted]
    elif split and found.split and str(found.split).split("[")[0] != split.split("[")[0]:
        raise DataError(f"{name} holds the split {str(found.split)!r} alone, and not {split!r}: name it with --split")
    table = _plain(found)
    convert = {column: _reader(feature) for column, feature in table.features.items()}
    rows: Iterable[Mapping[str, Any]] = table
    named = ({column: convert[column](value) for column, value in row.items()} for row in rows)
    return Table(name, _numbered(name, named), table.num_rows)


def _numbered(name: str, rows: Iterable[Row]) -> Iterable[tuple[str, Row]]:
    number = 0
    try:
        for row in rows:
            number += 1
            yield f"{name}:{number}", row
    # Any kind, as above: files on the hub may be damaged, or read by code that fails.
    except Exception as error:
        raise DataError(f"`datasets` fails after row {number} of {name} ({_first_line(error)})") from error


def _plain(table: Any) -> Any:
    """The dataset with all its columns and without a format (numpy, torch, pandas), its files undecoded."""
    import datasets

    table = table.with_format(None)
    for column, feature in table.features.items():
        if (kept := _undecoded(feature)) != feature:
            table = table.cast_column(column, kept)
    return table.with_format(None) if isinstance(table, datasets.Dataset) else table


def _undecoded(feature: Any) -> Any:
    """The feature with its files as they are: to decode and encode pictures again would change them."""
    import datasets

    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    if isinstance(feature, datasets.Audio | datasets.Video):
        return type(feature)(decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(part) for name, part in feature.items()}
    if isinstance(feature, datasets.List | datasets.LargeList):
        return type(feature)(_undecoded(feature.feature))
    return feature


def _reader(feature: Any) -> Callable[[Any], object]:
    """Converter from a feature's class numbers to their names; -1 stands for no label."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return lambda value: None if value is None or value < 0 else feature.int2str(int(value))
    if isinstance(feature, datasets.List | datasets.LargeList) and isinstance(feature.feature, datasets.ClassLabel):
        item = _reader(feature.feature)
        return lambda value: value if value is None else [item(part) for part in value]
    return lambda value: value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
