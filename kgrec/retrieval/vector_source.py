"""Sources that score by one product: item vectors with a weighted mean of the history's vectors."""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save_file
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.data.mapped_arrays import mapped_arrays
from kgrec.errors import ArtifactError, NotFittedError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.side import TextVectors, vectors_of
from kgrec.retrieval.content_vectors import centred, hashed_text_vectors

_CONFIG, _STATE = "config.json", "state.safetensors"


class ProfileConfig(BaseModel):
    """How a history becomes one weighted profile."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dislike_weight: float = Field(-0.3, le=0.0)
    """Weight of an event that is not a like."""
    recent_half_life: float = Field(30.0, gt=0.0)
    """Events after which the weight of an older event has halved."""


def profile_weights(
    histories: HistoryBatch, num_items: int, config: ProfileConfig
) -> sparse.csr_matrix:
    """Return the weight of each item in each history, shape (B, num_items), float32.

    Likes count 1, others ``dislike_weight``, both halved for each ``recent_half_life`` later
    events; a row of likes alone sums to about 1.
    """
    rows = histories.row_of_event
    later = histories.indptr[1:][rows] - 1 - np.arange(len(rows))
    weight = np.where(histories.positive, 1.0, config.dislike_weight)
    weight *= 0.5 ** (later / config.recent_half_life)
    total = np.bincount(rows, weights=np.abs(weight), minlength=len(histories))
    weight /= np.maximum(total, 1e-12)[rows]
    shape = (len(histories), num_items)
    return sparse.csr_matrix((weight.astype(np.float32), (rows, histories.item_idx)), shape=shape)


class VectorSource(Scorer):
    """Scores items by the product of fixed item vectors with the history's weighted mean of them.

    Subclasses say in ``item_vectors_of`` what the vectors are.
    """

    def __init__(self, config: ProfileConfig | None = None) -> None:
        self.config = config or ProfileConfig()
        self._vectors: FloatArray | None = None

    @abstractmethod
    def item_vectors_of(self, train: TrainingData) -> FloatArray:
        """Return the vectors of the items, shape (num_items, dim), unit length or zero."""

    def item_vectors(self) -> FloatArray:
        """Return the item vectors, shape (num_items, dim), float32."""
        if self._vectors is None:
            raise NotFittedError(
                f"Expected a fitted source '{self.name}', got one without vectors; "
                "call fit() or load() first"
            )
        return self._vectors

    def fit(self, train: TrainingData) -> Self:
        """Compute the item vectors and return self."""
        self._vectors = np.ascontiguousarray(self.item_vectors_of(train), dtype=np.float32)
        return self

    def with_rows(self, vectors: FloatArray) -> Self:
        """Return the source with further items at the end, shape (n, dim)."""
        wider = copy.copy(self)
        wider._vectors = np.concatenate([self.item_vectors(), vectors.astype(np.float32)])
        return wider

    def user_vectors(self, histories: HistoryBatch) -> FloatArray:
        """Return one vector for each history, shape (B, dim), float32; zeros for an empty one."""
        vectors = self.item_vectors()
        weights = profile_weights(histories, len(vectors), self.config)
        return np.asarray(weights @ vectors, dtype=np.float32)

    def scores(self, histories: HistoryBatch) -> FloatArray:
        """Return the score of every item, shape (B, num_items), float32."""
        return np.asarray(self.user_vectors(histories) @ self.item_vectors().T, dtype=np.float32)

    def score_grid(self, histories: HistoryBatch, item_idx: IntArray) -> FloatArray:
        """Return the scores of the same few items for each history, as Scorer says."""
        users = self.user_vectors(histories)
        return np.asarray(users @ self.item_vectors()[item_idx].T, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write vectors and configuration into ``folder``."""
        write_source(folder, {"vectors": self.item_vectors()}, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the source written by ``save``."""
        arrays, config = read_source(folder)
        source = cls(ProfileConfig.model_validate(config))
        source._vectors = arrays["vectors"]
        return source


class TextSimilarity(VectorSource):
    """Similarity of an item's text to the texts of the liked items, catalogue mean subtracted.

    Args:
        text_vectors: Shape (num_items, dim), from a text encoder, or what gives those of a
            training set; None for hashed words.
        config: How the history is weighted.
    """

    name: ClassVar[str] = "text_similarity"
    reads_graph: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = True

    def __init__(
        self, config: ProfileConfig | None = None, text_vectors: TextVectors | None = None
    ) -> None:
        super().__init__(config)
        self._given = text_vectors

    def item_vectors_of(self, train: TrainingData) -> FloatArray:
        """Return the centred text vectors."""
        given = vectors_of(self._given, train)
        if given is None:
            given = hashed_text_vectors(train.dataset.items, seed=train.seed)
        return centred(given)


def write_source(folder: Path, arrays: dict[str, FloatArray], config: BaseModel) -> None:
    """Write arrays (safetensors) and configuration (JSON) of a source into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / _STATE)
    (folder / _CONFIG).write_text(config.model_dump_json(indent=1))


def read_source(folder: Path) -> tuple[dict[str, FloatArray], dict[str, object]]:
    """Return arrays and configuration that ``write_source`` wrote.

    Raises:
        ArtifactError: A file is absent.
    """
    for name in (_CONFIG, _STATE):
        if not (folder / name).is_file():
            raise ArtifactError(
                f"Expected the file {folder / name} of a candidate source, found none; "
                "train and save the pipeline again"
            )
    return mapped_arrays(folder / _STATE), json.loads((folder / _CONFIG).read_text())
