"""Snapshot to models, index and recommendations that explain themselves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kgrec.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    KgrecError,
    RequestError,
    UnknownItemError,
)
from kgrec.threads import let_threads_sleep as _let_threads_sleep

if TYPE_CHECKING:
    from kgrec.serving.answers import Event, Explanation, Recommendation, Recommendations
    from kgrec.serving.recommender import Recommender

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DataError",
    "Event",
    "Explanation",
    "KgrecError",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "RequestError",
    "UnknownItemError",
]

_let_threads_sleep()

# imported when first asked for, so that `import kgrec` costs nothing
_LAZY = {
    "Event": "kgrec.serving.answers",
    "Explanation": "kgrec.serving.answers",
    "Recommendation": "kgrec.serving.answers",
    "Recommendations": "kgrec.serving.answers",
    "Recommender": "kgrec.serving.recommender",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'kgrec' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
