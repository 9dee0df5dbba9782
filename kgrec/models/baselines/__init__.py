"""Baselines by short name; each is a Scorer in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kgrec.errors import ArtifactError, ConfigError
from kgrec.models.baselines.baseline import Baseline, BaselineConfig, read_config
from kgrec.models.baselines.contemporaries import Contemporaries, ContemporariesConfig
from kgrec.models.baselines.ease import EASE, EASEConfig, GramCache
from kgrec.models.baselines.ease_kg import EASEKG, EASEKGConfig
from kgrec.models.baselines.factors import FactorScorer
from kgrec.models.baselines.ials import IALS, IALSConfig
from kgrec.models.baselines.item_item import ItemItemScorer, ItemWeights
from kgrec.models.baselines.itemknn import ItemKNN, ItemKNNConfig
from kgrec.models.baselines.kgin import KGIN, KGINConfig
from kgrec.models.baselines.lightgcn import LightGCN, LightGCNConfig
from kgrec.models.baselines.popularity import Popularity, PopularityConfig
from kgrec.models.baselines.rp3_kg import RP3KG, RP3KGConfig
from kgrec.models.baselines.rp3beta import RP3Beta, RP3BetaConfig
from kgrec.models.baselines.sasrec import SASRec, SASRecConfig
from kgrec.models.baselines.slim import SLIM, SLIMConfig
from kgrec.models.baselines.slim_kg import SLIMKG, SLIMKGConfig
from kgrec.models.baselines.slit import SLIT, SLITConfig
from kgrec.models.baselines.svd import SVD, SVDConfig
from kgrec.models.baselines.transitions import Transitions, TransitionsConfig

__all__ = [
    "BASELINES",
    "EASE",
    "EASEKG",
    "IALS",
    "KGIN",
    "RP3KG",
    "SLIM",
    "SLIMKG",
    "SLIT",
    "SVD",
    "Baseline",
    "BaselineConfig",
    "Contemporaries",
    "ContemporariesConfig",
    "EASEConfig",
    "EASEKGConfig",
    "FactorScorer",
    "GramCache",
    "IALSConfig",
    "ItemItemScorer",
    "ItemKNN",
    "ItemKNNConfig",
    "ItemWeights",
    "KGINConfig",
    "LightGCN",
    "LightGCNConfig",
    "Popularity",
    "PopularityConfig",
    "RP3Beta",
    "RP3BetaConfig",
    "RP3KGConfig",
    "SASRec",
    "SASRecConfig",
    "SLIMConfig",
    "SLIMKGConfig",
    "SLITConfig",
    "SVDConfig",
    "Transitions",
    "TransitionsConfig",
    "load_baseline",
    "make_baseline",
]

BASELINES: dict[str, type[Baseline]] = {
    model.name: model
    for model in (
        Popularity,
        ItemKNN,
        RP3Beta,
        EASE,
        SVD,
        SLIM,
        IALS,
        RP3KG,
        SLIMKG,
        EASEKG,
        Transitions,
        Contemporaries,
        SLIT,
        LightGCN,
        KGIN,
        SASRec,
    )
}


def make_baseline(
    name: str, settings: dict[str, Any] | None = None, grams: GramCache | None = None
) -> Baseline:
    """Return a new baseline by its short name.

    Args:
        name: A key of BASELINES.
        settings: Fields of its config that differ from the defaults.
        grams: Gram matrices shared by the EASE models of a search; the others ignore it.

    Raises:
        ConfigError: No such baseline, or settings it does not have.
    """
    model = BASELINES.get(name)
    if model is None:
        raise ConfigError(f"Expected a baseline of {sorted(BASELINES)} (got {name!r})")
    try:
        config = model.config_class.model_validate(settings or {})
    except ValidationError as error:
        raise ConfigError(f"Expected settings of '{name}'; {error}") from error
    if issubclass(model, EASE):
        return model(config, grams=grams)  # type: ignore[arg-type]
    return model(config)


def load_baseline(folder: Path) -> Baseline:
    """Return the baseline saved in ``folder``, whichever it is.

    Raises:
        ArtifactError: The folder holds no baseline, or a damaged one.
    """
    name = read_config(folder).get("name")
    model = BASELINES.get(str(name))
    if model is None:
        raise ArtifactError(
            f"Expected a baseline of {sorted(BASELINES)} (got {name!r}) in {folder}"
        )
    return model.load(folder)
