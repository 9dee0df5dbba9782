"""Candidates without the ranker: reciprocal rank fusion, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from ranking_data import histories_of, make_sources, make_train, small_config

from kgrec.errors import NotFittedError
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.fused import FusedCandidates

TRAIN = make_train()
PIPELINE = fit_pipeline(TRAIN, make_sources, small_config())
USERS = histories_of(TRAIN, [3, 10, 21, 44])


def test_score_is_the_sum_of_reciprocal_ranks_within_each_sources_best() -> None:
    scores, found = FusedCandidates(PIPELINE).scores(USERS), PIPELINE.generator.generate(USERS)
    depth = PIPELINE.config.candidates.depth
    expected = np.zeros(len(found.item_idx))
    for name in found.source_names:
        source = PIPELINE.sources[name]
        own, best = source.scores(USERS), source.top(USERS, depth)
        for pair, (row, item) in enumerate(zip(found.row_of_pair, found.item_idx, strict=True)):
            rank = 1 + int((best.score[row] > own[row, item]).sum())  # equal scores share the best
            expected[pair] += 1.0 / (60.0 + rank) if rank <= depth else 0.0
    inside = np.zeros(scores.shape, dtype=bool)
    inside[found.row_of_pair, found.item_idx] = True
    np.testing.assert_allclose(scores[found.row_of_pair, found.item_idx], expected, rtol=1e-4)
    assert scores[inside].min() > scores[~inside].max()
    assert (~inside).any()


def test_it_is_made_of_a_pipeline_and_never_served(tmp_path: Path) -> None:
    candidates = FusedCandidates(PIPELINE)
    with pytest.raises(NotFittedError, match="fitted pipeline"):
        candidates.fit(TRAIN)
    with pytest.raises(NotFittedError, match="pipeline"):
        candidates.save(tmp_path)
    with pytest.raises(NotFittedError, match="pipeline"):
        FusedCandidates.load(tmp_path)
