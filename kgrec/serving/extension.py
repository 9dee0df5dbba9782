"""An artifact with new items at the end: catalogue, graph, and a scorer that can rank them.

Nothing is trained. Each candidate source that reads content gets the new items' vectors in its own
space; the others know of nobody who touched them; the ranker sees them as cold items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from kgrec.artifact import Artifact
from kgrec.data.dataset import Items
from kgrec.data.given_vectors import about_mean
from kgrec.data.interactions import FloatArray
from kgrec.models.scorer import Scorer
from kgrec.ranking.feature_state import FeatureState, RelationSlots, slots_of
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.content_vectors import number_vectors
from kgrec.retrieval.delta_index import DeltaIndex
from kgrec.retrieval.graph_source import KgNeighbours, weighted_entities
from kgrec.retrieval.sources import ContentRidge, NewItems, TextSimilarity
from kgrec.serving.cold_content import Encode, KernelMap, TextSpace
from kgrec.serving.extended_graph import (
    GraphExtension,
    ItemEdges,
    extended_items,
    relation_ends,
    vectors_of_new,
)
from kgrec.serving.new_items import AddedItem, NewItem
from kgrec.serving.padded_scorer import PaddedScorer

_TOWERS = "towers"


@dataclass(frozen=True)
class _New:
    """New items as the catalogue's spaces have them, a row each.

    Attributes:
        items, edges: As they came, and their triples.
        text: Shape (n, text_dim), centred text vectors.
        touched: Shape (n, number of shared entities), unit rows.
        given: Shape (n, D), vectors from outside about the catalogue's mean; D 0 where it has none.
        numbers: Shape (n, d), where their numbers stand among the catalogue's.
    """

    items: Sequence[NewItem]
    edges: Sequence[ItemEdges]
    text: FloatArray
    touched: sparse.csr_matrix
    given: FloatArray
    numbers: FloatArray

    def content(self) -> sparse.csr_matrix:
        """Return all of it side by side, as the maps into other spaces read it."""
        return _content(self.text, self.touched, self.given, self.numbers)


class Extension:
    """Adds items to one artifact; what does not depend on them is computed once.

    Args:
        artifact: As it was loaded.
        encode: Makes the raw text vectors that its text vectors were made of; None where they
            were made from hashed words.
    """

    def __init__(self, artifact: Artifact, encode: Encode | None = None) -> None:
        self.artifact = artifact
        self._num_items = len(artifact.items.ids)
        self._ends = relation_ends(artifact.graph)
        self._touched, self._columns, self._idf = weighted_entities(artifact.graph)
        self._text: FloatArray = self._catalogue_texts()
        given = artifact.items.vectors
        none = np.zeros((self._num_items, 0), dtype=np.float32)
        self._given: FloatArray = none if given is None else about_mean(given)
        self._text_space = TextSpace(self._text, artifact.items.texts.tolist(), encode)
        scorer = artifact.scorer
        self._slots: list[RelationSlots] = []
        self._maps: dict[str, KernelMap] = {}
        self._towers: Any = None
        self._knots = 0
        if isinstance(scorer, Pipeline):
            readers = [s for s in scorer.sources.values() if isinstance(s, ContentRidge)]
            self._knots = max((s.settings.number_knots for s in readers), default=0)
            self._slots = slots_of(artifact.graph) if scorer.state.config.use_graph else []
            self._learn("content", scorer.state.arrays["content"])
            for name, source in scorer.sources.items():
                if isinstance(source, ContentRidge):
                    self._learn(name, source.item_vectors())
                if source.name == _TOWERS:
                    self._towers = self._cold_items(source)

    def check(self, item: NewItem) -> None:
        """Raise where the artifact cannot take an item.

        Raises:
            RequestError: A relation or a numeric column is not known, or the vector is not like
                those of the catalogue.
        """
        extended_items(self.artifact.items, [item])
        GraphExtension(self.artifact.graph, self._ends).edges(item)

    def extended(self, items: Sequence[NewItem]) -> tuple[Artifact, list[AddedItem]]:
        """Return the artifact with these items, and what became of each.

        Raises:
            RequestError: A relation or a numeric column is not known.
        """
        graph = self.artifact.graph
        catalogue = extended_items(self.artifact.items, items)
        finder = GraphExtension(graph, self._ends)
        edges = [finder.edges(item) for item in items]
        told = []
        for item, found in zip(items, edges, strict=True):
            new = found.entity[found.entity >= graph.num_entities] - graph.num_entities
            names = tuple(finder.new_names[place] for place in new)
            told.append(AddedItem(item.item_id, len(found.entity) - len(new), names))
        artifact = replace(
            self.artifact,
            items=catalogue,
            graph=finder.extended(items, edges),
            scorer=self._scorer(items, edges),
        )
        return artifact, told

    def _scorer(self, items: Sequence[NewItem], edges: Sequence[ItemEdges]) -> Scorer:
        scorer = self.artifact.scorer
        new = _New(
            items=items,
            edges=edges,
            text=self._text_space([item.text or item.title for item in items]),
            touched=sparse.vstack([self._entity_row(found) for found in edges]).tocsr(),
            given=about_mean(
                vectors_of_new(self.artifact.items, items), self.artifact.items.vectors
            ),
            numbers=_numbers(self.artifact.items, self._knots, items),
        )
        if not isinstance(scorer, Pipeline):
            return self._source("", scorer, new)
        sources = {name: self._source(name, source, new) for name, source in scorer.sources.items()}
        indexes: Any = {
            name: DeltaIndex(index, _vectors(sources[name])[self._num_items :])
            for name, index in scorer.indexes.items()
        }
        state = self._state(scorer.state, new)
        return Pipeline(
            scorer.config,
            sources,
            state,
            scorer.warm,
            scorer.cold,
            indexes,
            scorer.likes,
            scorer.preselection,
            scorer.cold_weight,
        )

    def _source(self, name: str, source: Scorer, new: _New) -> Scorer:
        if isinstance(source, TextSimilarity):
            return source.with_rows(new.text)
        if isinstance(source, KgNeighbours):
            return source.with_rows(new.touched)
        if isinstance(source, NewItems):
            return source.with_new(len(new.items))
        if name in self._maps and isinstance(source, ContentRidge):
            return source.with_rows(self._maps[name](new.content()))
        if self._towers is not None and source.name == _TOWERS:
            return self._with_towers(source, new)
        return PaddedScorer(source, self._num_items, len(new.items))

    def _state(self, state: FeatureState, new: _New) -> FeatureState:
        """Return the ranker's features with rows for items that nobody has touched."""
        count = len(new.items)
        nothing = np.zeros(count, dtype=np.float32)
        more: dict[str, Any] = {
            "events": nothing,
            "likes": nothing,
            "value_bias": nothing,
            "like_rate": nothing + state.arrays["means"][0],
            "content": self._maps["content"](new.content()),
            "numeric": self._numeric(state, new.items),
        }
        if "text" in state.arrays:
            more["text"] = new.text
        if state.listed is not None:
            more["listed"] = np.ones(count, dtype=np.bool_)
        slots = [self._slots_of(found) for found in new.edges]
        if self._slots:
            more["slots"] = np.concatenate([*slots, np.empty(0, dtype=np.int64)])
        arrays = dict(state.arrays)
        for name, rows in more.items():
            arrays[name] = np.concatenate([arrays[name], rows.astype(arrays[name].dtype)])
        for name in ("times_indptr", "steps_indptr", "together_indptr"):
            arrays[name] = np.append(arrays[name], np.full(count, arrays[name][-1]))
        if self._slots:
            sizes = np.cumsum([len(found) for found in slots])
            arrays["slot_indptr"] = np.append(
                arrays["slot_indptr"], arrays["slot_indptr"][-1] + sizes
            )
        for name in ("group_share", "group_rate"):
            if name in arrays:
                blank = np.zeros((len(arrays[name]), count), dtype=np.float32)
                arrays[name] = np.concatenate([arrays[name], blank], axis=1)
        return replace(state, arrays=arrays)

    def _catalogue_texts(self) -> FloatArray:
        scorer = self.artifact.scorer
        if isinstance(scorer, Pipeline):
            if "text" in scorer.state.arrays:
                return np.asarray(scorer.state.arrays["text"], dtype=np.float32)
            for source in scorer.sources.values():
                if isinstance(source, TextSimilarity):
                    return source.item_vectors()
        if isinstance(scorer, TextSimilarity):
            return scorer.item_vectors()
        return np.zeros((self._num_items, 0), dtype=np.float32)

    def _learn(self, name: str, targets: FloatArray) -> None:
        numbers = _numbers(self.artifact.items, self._knots)
        features = _content(self._text, self._touched, self._given, numbers)
        self._maps[name] = KernelMap(features, targets, np.arange(self._num_items))

    def _entity_row(self, edges: ItemEdges) -> sparse.csr_matrix:
        """Return the item's shared entities as a unit row, as the catalogue's rows are."""
        entities = np.unique(edges.entity[edges.entity < self.artifact.graph.num_entities])
        place = np.flatnonzero(np.isin(self._columns, entities))
        weights = self._idf[place]
        weights = weights / max(float(np.linalg.norm(weights)), 1e-12)
        indptr = np.array([0, len(place)])
        shape = (1, len(self._columns))
        return sparse.csr_matrix((weights, place, indptr), shape=shape, dtype=np.float32)

    def _slots_of(self, edges: ItemEdges) -> np.ndarray[Any, np.dtype[np.int64]]:
        names = np.array(self.artifact.graph.relations, dtype=object)[edges.relation]
        found, start = [], 0
        for part in self._slots:
            own = edges.entity[names == part.relation]
            found.append(start + np.flatnonzero(np.isin(part.entity_idx, own)))
            start += len(part.entity_idx)
        return np.concatenate([np.empty(0, dtype=np.int64), *found]).astype(np.int64)

    def _numeric(self, state: FeatureState, items: Sequence[NewItem]) -> FloatArray:
        rows = np.zeros((len(items), len(state.numeric_names)), dtype=np.float32)
        events = np.log1p(state.arrays["events"].astype(np.float32))
        for column, name in enumerate(state.numeric_names):
            known = events if name == "log_popularity" else self.artifact.items.numeric[name]
            known = known[np.isfinite(known)]
            given = [
                0.0 if name == "log_popularity" else item.numeric.get(name, np.nan)
                for item in items
            ]
            rows[:, column] = (np.array(given) - known.mean()) / known.std()
        return rows

    def _cold_items(self, towers: Any) -> Any:
        from kgrec.models.cold_items import ColdItems  # torch: not where there are no towers
        from kgrec.models.tower_inputs import standardised

        numeric = standardised(self.artifact.items.numeric.values(), self._num_items).numpy()
        with_text = towers.config.text_model is not None
        text = self._text if with_text else self._text[:, :0]
        warm = np.zeros(self._num_items, dtype=np.bool_)
        warm[self.artifact.interactions.item_idx] = True
        return ColdItems(towers, self.artifact.graph, text, numeric, warm, self._given)

    def _with_towers(self, towers: Any, new: _New) -> Scorer:
        from kgrec.models.cold_items import ColdItem, with_rows

        graph = self.artifact.graph
        columns = self.artifact.items.numeric
        rows = zip(new.items, new.edges, new.text, new.given, strict=True)
        cold = [
            ColdItem(
                text=text[: self._towers.text_dim],
                numeric=_standardised_row(columns, item),
                relation=found.relation + len(graph.relations) * found.is_head,
                entity=found.entity,
                given=given,
            )
            for item, found, text, given in rows
        ]
        return with_rows(towers, self._towers.vectors(cold))


def _content(
    text: FloatArray, touched: sparse.csr_matrix, given: FloatArray, numbers: FloatArray
) -> sparse.csr_matrix:
    dense = np.concatenate([text, given, numbers, np.ones((len(text), 1))], axis=1)
    return sparse.hstack([sparse.csr_matrix(dense), touched]).tocsr()


def _numbers(items: Items, knots: int, new: Sequence[NewItem] | None = None) -> FloatArray:
    """Return where the catalogue's numbers, or those of new items, stand among the catalogue's."""
    parts = [np.zeros((len(items.ids if new is None else new), 0), dtype=np.float32)]
    for name, values in items.numeric.items():
        told = values if new is None else np.array([x.numeric.get(name, np.nan) for x in new])
        parts.append(number_vectors(told, knots, values))
    return np.concatenate(parts, axis=1)


def _vectors(source: Scorer) -> FloatArray:
    vectors = source.item_vectors  # type: ignore[attr-defined]
    return np.asarray(vectors() if callable(vectors) else vectors, dtype=np.float32)


def _standardised_row(columns: Any, item: NewItem) -> FloatArray:
    """Return what tower_inputs.standardised gives for one more row of the catalogue."""
    row = []
    for name, column in columns.items():
        known = column[np.isfinite(column)]
        mean = known.mean(dtype=np.float64) if len(known) else 0.0
        deviation = known.std(dtype=np.float64) if len(known) else 1.0
        value = item.numeric.get(name)
        scaled = 0.0 if value is None else (value - mean) / max(float(deviation), 1e-6)
        row += [np.clip(scaled, -5, 5), value is not None]
    return np.array(row, dtype=np.float32)
