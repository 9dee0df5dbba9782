"""What each ablation leaves of the graph."""

import numpy as np
import pytest

from kgrec.data.graph import KnowledgeGraph


def graph(extracted: list[bool] | None) -> KnowledgeGraph:
    names = np.array(["a", "b", "x", "y", "z"], dtype=object)
    return KnowledgeGraph(
        entity_ids=names,
        entity_types=np.array(["item", "item", "tag", "tag", "tag"], dtype=object),
        entity_names=names,
        relations=("has", "likes"),
        phrases=("has", "likes"),
        head=np.array([0, 0, 1, 1]),
        relation=np.array([0, 1, 0, 1]),
        tail=np.array([2, 3, 3, 4]),
        item_entity=np.array([0, 1]),
        extracted=None if extracted is None else np.array(extracted),
    )


def test_tables_leaves_the_triples_that_no_text_gave():
    left = graph([False, True, False, True]).ablated("tables", seed=0)
    assert left.head.tolist() == [0, 1]
    assert left.relation.tolist() == [0, 0]
    assert left.tail.tolist() == [2, 3]
    assert left.extracted is not None
    assert not left.extracted.any()


def test_without_extraction_tables_is_the_graph_itself():
    whole = graph(None)
    assert whole.ablated("tables", seed=0) is whole
    assert graph([False] * 4).ablated("tables", seed=0).num_triples == 4


@pytest.mark.parametrize("mode", ["shuffled", "random"])
def test_shuffling_keeps_degrees_of_heads_and_the_relation_of_each_triple(mode):
    whole = graph([False, True, False, True])
    other = whole.ablated(mode, seed=3)
    assert other.head.tolist() == whole.head.tolist()
    assert other.relation.tolist() == whole.relation.tolist()
    for relation in (0, 1):
        rows = whole.relation == relation
        assert set(other.tail[rows]) <= set(whole.tail[rows])


def test_off_leaves_no_triple():
    assert graph([True] * 4).ablated("off", seed=0).num_triples == 0
