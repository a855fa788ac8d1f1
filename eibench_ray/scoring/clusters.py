"""Clusters by which samples are resampled: those of one picture are alike, so they count together."""

from __future__ import annotations

from eibench_ray.rows.sample import Sample


class Clusters:
    """Numbers clusters of samples, from 0 and in order of appearance."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._num_clusters = 0

    def code(self, pictures: str) -> int:
        """The cluster of a sample with these pictures (`name_pictures`); one without any stands alone."""
        new = self._num_clusters
        code = self._known.setdefault(pictures, new) if pictures else new
        self._num_clusters += code == new
        return code


def name_pictures(sample: Sample) -> str:
    """A sample's pictures by content; empty where it has none."""
    return " ".join(media.digest or media.path for media in sample.media)
