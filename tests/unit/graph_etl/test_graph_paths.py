"""The search for best paths against networkx on random graphs, and its limits."""

import math

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.errors import DataError
from graph_etl.graph_arrays import adjacency_of, unique_triples
from graph_etl.graph_paths import PathSearch
from graph_etl.snapshot import TABLES, Snapshot

NUM_ENTITIES = 9


def snapshot_of(triples, num_entities=NUM_ENTITIES):
    def frame(table, rows):
        return pl.DataFrame(rows, schema=dict(TABLES[table]), orient="row")

    return Snapshot(
        path=None,
        manifest={},
        entities=frame("entities", [(i, f"e{i}", "thing", f"E {i}") for i in range(num_entities)]),
        relation_types=frame(
            "relation_types", [(i, f"r{i}", "thing", "thing", f"does {i}") for i in range(3)]
        ),
        triples=frame("triples", [(*row, "t", "", "table", 1.0, "r") for row in triples]),
        **{name: frame(name, []) for name in ("items", "users", "interactions")},
    )


def found(snapshot, sources, target, *, max_length=4, limit=10_000):
    """Paths as (entities, ((relation, outgoing), ...)), best first."""
    edges = adjacency_of(snapshot)
    paths = PathSearch(edges).best(
        np.array(sources), target, max_length=max_length, limit=limit, timeout_s=60
    )
    return [
        (
            path.entities,
            tuple((int(edges.relation[e]), bool(edges.outgoing[e])) for e in path.edges),
        )
        for path in paths
    ]


def expected(snapshot, sources, target, max_length):
    """All such paths by networkx, each with its rank: length, then product of degrees."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(snapshot.entities.height))
    triples = set(snapshot.triples.select("head_idx", "relation_idx", "tail_idx").rows())
    for head, relation, tail in triples:
        graph.add_edge(head, tail, key=(head, relation, tail))
    ranks = {}
    for source in set(sources) - {target}:
        for path in nx.all_simple_edge_paths(graph, source, target, cutoff=max_length):
            entities = (source, *(end for _, end, _ in path))
            if set(entities[1:-1]) & set(sources):
                continue
            steps = tuple((key[1], key[0] == start) for start, _, key in path)
            weight = sum(round(1000 * math.log(graph.degree(one))) for one in entities[1:-1])
            ranks[entities, steps] = (len(steps), weight)
    return ranks


@settings(max_examples=150, deadline=None)
@given(
    triples=st.lists(
        st.tuples(
            st.integers(0, NUM_ENTITIES - 1), st.integers(0, 2), st.integers(0, NUM_ENTITIES - 1)
        ),
        max_size=25,
    ),
    sources=st.lists(st.integers(0, NUM_ENTITIES - 1), min_size=1, max_size=4),
    target=st.integers(0, NUM_ENTITIES - 1),
    max_length=st.integers(1, 6),
    limit=st.integers(1, 12),
)
def test_best_paths_are_those_of_networkx_in_order(triples, sources, target, max_length, limit):
    snapshot = snapshot_of(triples)
    ranks = expected(snapshot, sources, target, max_length)
    every = found(snapshot, sources, target, max_length=max_length)
    assert len(every) == len(set(every))
    assert set(every) == set(ranks)
    order = [(ranks[path], path[0]) for path in every]
    assert order == sorted(order)
    assert found(snapshot, sources, target, max_length=max_length, limit=limit) == every[:limit]


def test_a_rare_entity_between_comes_before_a_common_one():
    hub = [(source, 0, 7) for source in (0, 1, 2, 3, 4)]
    rare = [(0, 1, 8), (1, 1, 8)]
    paths = [entities for entities, _ in found(snapshot_of([*hub, *rare]), [0], 1, max_length=2)]
    assert paths == [(0, 8, 1), (0, 7, 1)]


def test_a_search_that_takes_too_long_says_so():
    snapshot = snapshot_of([(0, 0, 1), (1, 0, 2)])
    search = PathSearch(adjacency_of(snapshot))
    with pytest.raises(DataError, match="paths of 2 relationships to end within its time"):
        search.best(np.array([0]), 2, max_length=2, limit=1, timeout_s=-1.0)


def test_unique_triples_keep_the_most_confident():
    snapshot = snapshot_of([(0, 0, 1), (0, 0, 1), (1, 0, 2), (0, 0, 1)])
    confidence = pl.Series([0.5, 0.9, 0.1, None], dtype=pl.Float32)
    snapshot.triples.replace_column(6, confidence.alias("confidence"))
    assert unique_triples(snapshot)["row"].to_list() == [1, 2]
