"""Configuration of the pipeline: candidates, features, windows, rankers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kgrec.ranking.cross_network import CrossNetworkConfig
from kgrec.ranking.feature_state import FeatureConfig
from kgrec.ranking.lightgbm_ranker import LightGBMConfig
from kgrec.ranking.likes import LikeConfig
from kgrec.ranking.linear import LinearConfig
from kgrec.ranking.target_attention import TargetAttentionConfig
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
    reranked: int | None = Field(default=200, ge=1)
    """Candidates of a user that the ranker orders, chosen by a linear guess of what it will say;
    None: all. A longer list than this is ranked as long as it is asked for."""
    features: FeatureConfig = FeatureConfig()
    """Which features, and their constants."""
    windows: WindowConfig = WindowConfig()
    """How train time is cut for cross-fitting."""
    negatives: int = Field(default=80, ge=2)
    """Candidates without a like that a list keeps for learning, drawn uniformly."""
    history_events: int = Field(default=50, ge=1)
    """Last events of a user that rankers which read histories are given."""
    rankers: tuple[str, ...] = ("lightgbm", "cross_network")
    """Rankers that are tried, of lightgbm, cross_network, target_attention and linear; their sum is
    kept unless one, or a smaller sum, beats it on the last window."""
    latency_budget_ms: float | None = Field(default=None, gt=0.0)
    """CPU milliseconds that scoring 200 candidates may take; slower rankers, and sums that are
    slower together, are not chosen. null: no limit, and no time is measured."""
    ranker_runtime: Literal["torch", "onnx"] = "torch"
    """What scores with the chosen torch rankers: with "onnx" the artifact carries each as an ONNX
    file too, which onnxruntime runs (extra "onnx"); weights stay beside it."""
    stopping_lists: int = Field(default=400, ge=1)
    """Lists of the last window that early stopping looks at; all of them choose and calibrate."""
    blend: bool = True
    """Whether sums of the rankers' standardised scores may be chosen too."""
    cold_weight: float | None = Field(default=None, ge=0.0)
    """Factor on the probability of items without train events, beside others in one list; null: as
    much as ``cold_loss`` pays for, 0.15 where training had no such item to weigh."""
    cold_loss: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Share of the likes that are expected of the other items among a list's first 20 which items
    without train events may cost; of no effect where ``cold_weight`` is given."""
    cross_network: CrossNetworkConfig = CrossNetworkConfig()
    """The ranker of crossed features, DCN-v2."""
    target_attention: TargetAttentionConfig = TargetAttentionConfig()
    """The ranker that attends to the user's last events, DIN."""
    linear: LinearConfig = LinearConfig()
    """The linear ranker."""
    lightgbm: LightGBMConfig = LightGBMConfig()
    """The ranker of boosted trees; left out where the library is not installed."""
    likes: LikeConfig = LikeConfig()
    """The model of what is liked of what is met, made where dislikes are known."""
