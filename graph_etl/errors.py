"""The errors graph_etl raises; what each means to the caller, nothing about how to print them.

GraphEtlError
├── ConfigError          dataset.yaml or graph_schema.yaml says something impossible
├── DataError            a user's table holds something that cannot be used or repaired
├── SchemaViolationError a triple does not fit the whitelisted (head, relation, tail)
├── GateError            a built graph differs too much from the published one
├── StoreError           the graph store refused or cannot be reached
├── SnapshotError        a snapshot folder is absent, damaged or of another schema version
├── ExtractionError      entities and relations could not be extracted from the texts
│   └── TooManyFailuresError  more texts than allowed have no good answer
├── FetchError           public data could not be downloaded or has another checksum
└── MissingDependencyError  an optional library is not installed
"""


class GraphEtlError(Exception):
    """Base of every error that graph_etl raises on purpose."""


class ConfigError(GraphEtlError):
    """A configuration file names something that does not exist or cannot work."""


class DataError(GraphEtlError):
    """A source table holds rows that can be neither used nor repaired by a stated rule."""


class SchemaViolationError(GraphEtlError):
    """A triple does not match any whitelisted (head, relation, tail) pattern."""


class GateError(GraphEtlError):
    """A built graph fails a gate; what was published before still stands."""


class StoreError(GraphEtlError):
    """The graph store refused a statement or cannot be reached."""


class SnapshotError(GraphEtlError):
    """A snapshot folder is absent, truncated, altered or of an unknown schema version."""


class ExtractionError(GraphEtlError):
    """An extraction run failed as a whole: budget spent, too many failures, no usable model."""


class TooManyFailuresError(ExtractionError):
    """More texts than a run allows have no good answer; the good answers are kept."""


class FetchError(GraphEtlError):
    """Public data could not be downloaded or does not have the expected checksum."""


class MissingDependencyError(GraphEtlError):
    """An optional library is not installed; the message carries the install command."""
