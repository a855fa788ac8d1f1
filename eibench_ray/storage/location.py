"""Location of a store or a dataset: a folder that every node sees, or a prefix in a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

Scheme = Literal["file", "s3", "gs"]

OPTIONS: Mapping[Scheme, frozenset[str]] = {
    "file": frozenset(),
    "s3": frozenset({"anonymous", "endpoint_override", "region", "scheme"}),
    "gs": frozenset({"anonymous", "endpoint_override", "scheme"}),
}


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a store or a dataset.

    Attributes:
        options: of the bucket's service, by Arrow's names; `anonymous=true` uses no keys, as for a public dataset.
    """

    scheme: Scheme
    path: str  # an absolute folder, or bucket and prefix
    options: Mapping[str, str]


def read_location(root: str) -> Location:
    """Reads `store.root` or `dataset.path` as a location: a path, or a URI (file://, s3://, gs://).

    Raises:
        ValueError: it cannot be used, and why. The message repeats nothing that may be a secret.
    """
    if "://" not in root:
        return Location("file", str(Path(root).absolute()), {})
    parts = urlsplit(root)
    scheme = {"gcs": "gs"}.get(parts.scheme, parts.scheme)
    if "@" in root or (scheme != "file" and ":" in parts.netloc):
        raise ValueError("carries a name or a password: keys come from the environment; a config is written to disk")
    if scheme not in OPTIONS:
        raise ValueError("should be a folder, or a URI that begins with s3://, gs:// or file://")
    known = cast(Scheme, scheme)
    options = dict(parse_qsl(parts.query))
    if wrong := sorted(options.keys() - OPTIONS[known]):
        allowed = ", ".join(sorted(OPTIONS[known])) or "none"
        raise ValueError(f"has the options {', '.join(wrong)}; those of {known}:// are: {allowed}")
    if options.get("anonymous", "true") not in ("true", "false"):
        raise ValueError("has an option anonymous that is neither true nor false")
    path = unquote(parts.path) if known == "file" else f"{parts.netloc}{unquote(parts.path)}".rstrip("/")
    if not path or (known == "file" and parts.netloc):
        raise ValueError("names no bucket" if known != "file" else "should have three slashes: file:///FOLDER")
    return Location(known, path, options)
