"""Any sequence of graphs written into one store leaves what a fresh store would hold."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.store.changes import changes_between
from graph_etl.store.graph_rows import rows_of
from graph_etl.store.kglite_store import KgliteStore

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from graph_store_contract import assert_holds, graph_tables, write

KINDS = ("book", "person")
PATTERNS = [("book", "written_by", "person"), ("book", "related_to", "book")]


@st.composite
def graphs(draw):
    """Up to six entities whose type and name may differ from one graph to the next."""
    ids = draw(st.lists(st.sampled_from("abcdef"), unique=True))
    entities = [
        (i, draw(st.sampled_from(KINDS)), draw(st.text(st.characters(exclude_characters="\0",
         exclude_categories=["Cs"]), max_size=5)))
        for i in ids
    ]  # fmt: skip
    possible = [
        (head, relation, tail)
        for head, head_kind, _ in entities
        for tail, tail_kind, _ in entities
        for kind, relation, other in PATTERNS
        if (head_kind, tail_kind) == (kind, other)
    ]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    confidence = draw(st.sampled_from([0.5, 1.0]))
    patterns = draw(st.permutations(PATTERNS))
    return graph_tables(entities, patterns, chosen, confidence)


@settings(max_examples=30, deadline=None)
@given(graphs(), graphs())
def test_triples_are_told_apart_the_same_by_numbers_and_by_structs(old, new):
    frames = [(one.entities, one.relation_types, one.triples) for one in (old, new)]
    by_number = changes_between(*(rows_of(*one) for one in frames), delete_missing=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graph_etl.store.graph_rows.MAX_KEY", 0)
        by_struct = changes_between(*(rows_of(*one) for one in frames), delete_missing=True)
    for name in ("new", "changed", "gone"):
        assert getattr(by_number.triples, name).equals(getattr(by_struct.triples, name))


@settings(max_examples=20, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=4), st.booleans())
def test_writes_in_sequence_equal_the_last_alone(sequence, told):
    with tempfile.TemporaryDirectory() as folder, KgliteStore(Path(folder) / "g.kgl") as store:
        for before, tables in zip([None, *sequence], sequence, strict=False):
            known = before if told else None
            summary = write(store, tables, delete_missing=True, known=known)
            assert_holds(store, tables)
            assert store.counts().num_entities == tables.entities.height
            given_rows = tables.entities.height + tables.triples.height
            written = summary.nodes_created + summary.nodes_updated
            written += summary.relationships_created + summary.relationships_updated
            assert summary.unchanged + written == given_rows
            assert write(store, tables, delete_missing=True).writes == 0
