"""The errors that a user may meet, as one tree.

EibenchError                 exit code 1: the run failed
├── UserError                exit code 2: the user can fix it
│   ├── ConfigError          a key, a type, an option or a missing value
│   ├── DataError            a dataset, a picture or an annotation
│   ├── PlanError            a sweep that cannot be planned as asked
│   ├── StoreError           a store that cannot be read or written
│   │   └── DiskFullError    a disk that is full; exit code 1, as the run was right
│   └── ClusterError         a cluster that does not answer or is too small
├── ClusterLostError         a cluster that went away under the run
├── EngineError              an engine that did not start, or died
└── ScoreError               a figure that cannot be computed

Every message is one paragraph: what is wrong, where, which value, and what to do. What happens to a single row is
no exception: it is an error row with a `RowErrorKind` (records.py).
"""

from eibench_ray.visible_text import in_page, shorten_words


class EibenchError(Exception):
    """A run that failed; its message is one paragraph for the user, whatever the texts are that it repeats."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        paragraph = " ".join(line.strip() for line in message.splitlines() if line.strip())
        super().__init__(in_page(shorten_words(paragraph)))


class UserError(EibenchError):
    """Something that the user can fix."""

    exit_code = 2


class ConfigError(UserError):
    """A key, a type, an option or a missing value in the configuration."""


class DataError(UserError):
    """A dataset, a picture or an annotation that cannot be used."""


class PlanError(UserError):
    """A sweep that cannot be planned as asked."""


class StoreError(UserError):
    """A store that cannot be read or written."""


class DiskFullError(StoreError):
    """A disk that takes no more: what was asked was right, and the run failed."""

    exit_code = 1


class ClusterError(UserError):
    """A cluster that does not answer, or has too little for the plan."""


class ClusterLostError(EibenchError):
    """A cluster that went away under the run."""


class EngineError(EibenchError):
    """An engine that did not start, or died."""


class ScoreError(EibenchError):
    """A figure that cannot be computed from what there is."""
