"""Which scorer an artifact holds: short names to classes, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kgrec.errors import ConfigError
from kgrec.models.scorer import Scorer

ScorerTypes = Mapping[str, type[Scorer]]


def load_scorer(name: str, folder: Path, scorers: ScorerTypes | None = None) -> Scorer:
    """Return the fitted scorer that an artifact holds.

    Args:
        name: The scorer's short name, "pipeline" for the whole of retrieval and ranking.
        folder: Where it was saved.
        scorers: Further classes by name, looked up before the built-in ones.

    Raises:
        ConfigError: No scorer of that name is known.
    """
    if scorers is not None and name in scorers:
        return scorers[name].load(folder)
    if name == "pipeline":
        from kgrec.ranking.pipeline import Pipeline

        return Pipeline.load(folder)
    from kgrec.models.baselines import BASELINES

    if name not in BASELINES:
        raise ConfigError(
            f"Expected a scorer out of pipeline, {', '.join(sorted(BASELINES))}, got {name!r} in "
            f"{folder}; pass its class as scorers={{{name!r}: ...}}"
        )
    return BASELINES[name].load(folder)
