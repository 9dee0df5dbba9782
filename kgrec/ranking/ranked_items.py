"""What the pipeline answers with: items, scores, probabilities, and which source brought them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.top_items import TopItems


@dataclass(frozen=True)
class RankedItems:
    """The best items of each user with where they come from, best first.

    Attributes:
        item_idx: Shape (B, k), int64, -1 where there are fewer than k.
        score: Shape (B, k), float32: log of the probability, cold items weighted; -inf at -1.
        probability: Shape (B, k), float32: calibrated P(like) of the item in the next slice of
            events; 0 at -1.
        source_names: S names.
        source_rank: Shape (B, k, S), int32: 1-based rank within each source's best items, beyond
            them their number + 1 (it came for want of train events, or by a filter); 0 where the
            source did not bring it.
        source_z: Shape (B, k, S), float32: standardised score in each source.
        rank: Shape (B, k, S), int32: the same rank whether the source brought the item or not.
        best: What rank and z refer to, as Candidates has it.
    """

    item_idx: IntArray
    score: FloatArray
    probability: FloatArray
    source_names: tuple[str, ...]
    source_rank: npt.NDArray[np.int32]
    source_z: FloatArray
    rank: npt.NDArray[np.int32]
    best: TopItems | None
