"""The errors kgrec raises; what each means to the caller, nothing about how to print them.

KgrecError
├── ConfigError             a run or component configuration is impossible
├── DataError               a snapshot or a split cannot be used for what was asked
├── RequestError            a request names something that cannot be answered
│   └── UnknownItemError    an item id that the artifact does not know
├── MemoryBudgetError       a model would need more bytes than max_memory_bytes
├── NotFittedError          a model was asked for scores before fit or load
├── TestLockError           test data was asked for by something that may not see it
├── NightRunningError       another nightly job runs in the same folder
├── DiskError               a job's file cannot be written
├── EventLogError           an event log cannot be written, or is damaged
├── ServingStateError       what serving keeps on disk cannot be written, or is damaged
├── SharedStateError        Redis, which workers share, does not answer or lost what it held
├── ArtifactError           an artifact folder is absent, damaged or of another schema version
├── ServiceError            the HTTP service does not answer, or refuses the key
└── MissingDependencyError  an optional library is not installed
"""


class KgrecError(Exception):
    """Base of every error that kgrec raises on purpose."""


class ConfigError(KgrecError):
    """A run or component configuration names something that does not exist or cannot work."""


class DataError(KgrecError):
    """A snapshot or a split cannot be used for what was asked of it."""


class RequestError(KgrecError):
    """A request names a filter, value or setting that cannot be answered."""


class UnknownItemError(RequestError):
    """An item id that the artifact does not know."""


class MemoryBudgetError(KgrecError):
    """A model would need more bytes than its configured max_memory_bytes."""


class NotFittedError(KgrecError):
    """A model was asked for scores before it was fitted or loaded."""


class TestLockError(KgrecError):
    """Test data was asked for by something that may not see it."""

    __test__ = False  # the name starts with Test; pytest must not collect it


class NightRunningError(KgrecError):
    """Another nightly job runs in the same folder."""


class DiskError(KgrecError):
    """A job's file cannot be written: the disk is full, or may not be written to."""


class EventLogError(KgrecError):
    """An event log cannot be written, is damaged, or is written to by another process."""


class ServingStateError(KgrecError):
    """The ledger, key or journal of a serving folder cannot be written, or is damaged."""


class SharedStateError(KgrecError):
    """The state that workers share does not answer in time, or has lost what it held."""


class ArtifactError(KgrecError):
    """An artifact folder is absent, truncated, altered or of an unknown schema version."""


class ServiceError(KgrecError):
    """The HTTP service cannot be reached, is overloaded, or refuses the key; the client's error."""


class MissingDependencyError(KgrecError):
    """An optional library is not installed; the message carries the install command."""
