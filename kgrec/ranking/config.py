"""Configuration of the pipeline: candidates, features, windows, rankers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from kgrec.ranking.cross_network import CrossNetworkConfig
from kgrec.ranking.feature_state import FeatureConfig
from kgrec.ranking.lightgbm_ranker import LightGBMConfig
from kgrec.ranking.likes import LikeConfig
from kgrec.ranking.linear import LinearConfig
from kgrec.ranking.windows import WindowConfig
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.index import IndexConfig


class PipelineConfig(BaseModel):
    """Everything of the second stage that can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    index: IndexConfig = IndexConfig()
    """The FAISS index of each source that is named in ``indexed_sources``."""
    indexed_sources: tuple[str, ...] = ("towers",)
    """Sources with item and user vectors that get a FAISS index, where they are there."""
    candidates: CandidateConfig = CandidateConfig()
    """Depths and quotas of the candidate union."""
    features: FeatureConfig = FeatureConfig()
    """Which features, and their constants."""
    windows: WindowConfig = WindowConfig()
    """How train time is cut for cross-fitting."""
    negatives: int = Field(default=80, ge=2)
    """Candidates without a like that a list keeps for learning, drawn uniformly."""
    rankers: tuple[str, ...] = ("lightgbm", "cross_network")
    """Rankers that are tried; their sum is kept unless one alone beats it on the last window."""
    stopping_lists: int = Field(default=400, ge=1)
    """Lists of the last window that early stopping looks at; all of them choose and calibrate."""
    blend: bool = True
    """Whether the sum of the rankers' standardised scores may be chosen too."""
    cold_weight: float = Field(default=0.15, ge=0.0)
    """Factor on the probability of items without train events, beside others in one list."""
    cross_network: CrossNetworkConfig = CrossNetworkConfig()
    """The torch ranker."""
    linear: LinearConfig = LinearConfig()
    """The linear ranker."""
    lightgbm: LightGBMConfig = LightGBMConfig()
    """The ranker of boosted trees; left out where the library is not installed."""
    likes: LikeConfig = LikeConfig()
    """The model of what is liked of what is met, made where dislikes are known."""
