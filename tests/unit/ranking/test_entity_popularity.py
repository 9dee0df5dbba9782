"""The popularity of an item's entities, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from ranking_data import COLD, make_sources, make_train, small_config

from kgrec.data.histories import HistoryBatch
from kgrec.ranking.entity_popularity import FIGURES, entity_popularity
from kgrec.ranking.feature_state import FeatureConfig, fit_feature_state
from kgrec.ranking.features import FeatureBuilder
from kgrec.retrieval.candidates import CandidateGenerator

TRAIN = make_train()
STATE = fit_feature_state(TRAIN, FeatureConfig(use_entity_popularity=True))


def test_popularity_of_entities_is_the_shrunk_mean_over_their_other_items() -> None:
    arrays = STATE.arrays
    events = arrays["events"]
    seen = events > 0
    level = np.log1p(events) - np.log1p(events[seen]).mean()
    indptr, slots, group = arrays["slot_indptr"], arrays["slots"], arrays["slot_relation"]
    items_of = {
        slot: [i for i in range(len(events)) if slot in slots[indptr[i] : indptr[i + 1]]]
        for slot in np.unique(slots)
    }
    found = entity_popularity(arrays, len(STATE.relations)).reshape(len(events), -1, len(FIGURES))
    for item in range(len(events)):
        for relation in range(len(STATE.relations)):
            own = [s for s in slots[indptr[item] : indptr[item + 1]] if group[s] == relation]
            means = [
                sum(level[i] for i in items_of[s] if i != item and seen[i])
                / (sum(seen[i] for i in items_of[s] if i != item) + 2.0)
                for s in own
            ]
            wanted = [np.mean(means), max(means), np.log1p(len(own))] if own else [0.0] * 3
            np.testing.assert_allclose(found[item, relation], wanted, rtol=1e-4, atol=1e-5)


def test_features_name_the_figures_of_each_relation_and_hold_them() -> None:
    sources = {name: source.fit(TRAIN) for name, source in make_sources().items()}
    histories = HistoryBatch.from_interactions(TRAIN.interactions, np.arange(4))
    generator = CandidateGenerator(sources, small_config().candidates, STATE.cold)
    candidates = generator.generate(histories)
    matrix = FeatureBuilder(STATE).build(histories, candidates)
    column = matrix.names.index("graph.made_by.most_popular")
    table = entity_popularity(STATE.arrays, len(STATE.relations))
    place = 3 * STATE.relations.index("made_by") + FIGURES.index("most_popular")
    np.testing.assert_array_equal(matrix.values[:, column], table[candidates.item_idx, place])


def test_events_of_an_item_say_nothing_of_its_own_entities() -> None:
    item = TRAIN.num_items - 1
    assert STATE.cold[item]
    events = TRAIN.interactions
    more = np.concatenate([events.item_idx[:-5], np.full(5, item)])
    changed = TRAIN.__class__(
        TRAIN.dataset,
        events.__class__(events.user_idx, more, events.value, events.timestamp, events.positive),
        TRAIN.graph,
        TRAIN.seed,
    )
    after = fit_feature_state(changed, STATE.config)
    assert not after.cold[item]
    number = len(STATE.relations)
    one, other = (entity_popularity(s.arrays, number)[item] for s in (STATE, after))
    assert one == pytest.approx(other, abs=0.05)  # others lost five events, and the mean moved


def test_state_without_a_graph_has_no_such_features() -> None:
    config = FeatureConfig(use_entity_popularity=True, use_graph=False)
    names = fit_feature_state(TRAIN, config).item_names
    assert not [name for name in names if name.startswith("graph.")]
    assert COLD > 0
