"""Clusters by which samples are resampled: those of one picture are alike, so they count together."""

from __future__ import annotations

from eibench_ray.rows.sample import Sample


class Clusters:
    """Numbers clusters of samples, from 0 and in order of appearance."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._num_clusters = 0

    def code(self, sample: Sample) -> int:
        """The sample's cluster: its pictures by content; a sample without one stands alone."""
        new = self._num_clusters
        pictures = " ".join(media.digest or media.path for media in sample.media)
        code = self._known.setdefault(pictures, new) if pictures else new
        self._num_clusters += code == new
        return code
