"""The catalogue and graph of an artifact with new items at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kgrec.data.dataset import Items
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.data.strings import StringColumn, Strings
from kgrec.errors import RequestError
from kgrec.serving.new_items import NewItem


@dataclass(frozen=True)
class ItemEdges:
    """The triples of one new item.

    Attributes:
        relation: Shape (t,), int64: relation_idx.
        entity: Shape (t,), int64: entity_idx of the other end, beyond the graph's where it is new.
        is_head: Shape (t,), bool: the item is the head.
    """

    relation: IntArray
    entity: IntArray
    is_head: npt.NDArray[np.bool_]


RelationEnds = list[tuple[bool, IntArray]]


def relation_ends(graph: KnowledgeGraph) -> RelationEnds:
    """Return for each relation_idx whether items are its heads, and the entities opposite."""
    is_item = np.zeros(graph.num_entities, dtype=np.bool_)
    is_item[graph.item_entity] = True
    ends = []
    for relation in range(len(graph.relations)):
        rows = graph.relation == relation
        head, tail = graph.head[rows], graph.tail[rows]
        heads = bool(is_item[head].sum() >= is_item[tail].sum())
        ends.append((heads, np.unique(tail if heads else head)))
    return ends


class GraphExtension:
    """Finds the entities that new items name, and makes those that are not there.

    Args:
        graph: The artifact's graph.
        ends: ``relation_ends`` of it, where they are known.
    """

    def __init__(self, graph: KnowledgeGraph, ends: RelationEnds | None = None) -> None:
        self.graph = graph
        self.new_names: list[str] = []
        self._new_types: list[str] = []
        self._new_of: dict[tuple[str, str], int] = {}
        self._ends = relation_ends(graph) if ends is None else ends

    def edges(self, item: NewItem) -> ItemEdges:
        """Return the triples of a new item, each once.

        Raises:
            RequestError: A relation is not known, or no triple of it stands in the graph.
        """
        found = dict.fromkeys(self._edge(relation, entity) for relation, entity in item.triples)
        columns = np.array(list(found), dtype=np.int64).reshape(-1, 3)
        return ItemEdges(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.bool_))

    def extended(self, items: Sequence[NewItem], edges: Sequence[ItemEdges]) -> KnowledgeGraph:
        """Return the graph with the new entities, then the new items, and their triples."""
        graph = self.graph
        kind = str(graph.entity_types[graph.item_entity[0]])
        first = graph.num_entities + len(self.new_names)
        nodes = first + np.arange(len(items))
        sizes = [len(one.entity) for one in edges]
        node = np.repeat(nodes, sizes)
        entity = np.concatenate([one.entity for one in edges])
        is_head = np.concatenate([one.is_head for one in edges])
        relation = np.concatenate([one.relation for one in edges])
        new_ids = [f"{t}:{n}" for t, n in zip(self._new_types, self.new_names, strict=True)]
        ids = [*new_ids, *(f"{kind}:{item.item_id}" for item in items)]
        titles = [item.title or item.item_id for item in items]
        return KnowledgeGraph(
            entity_ids=_with(graph.entity_ids, ids),
            entity_types=_with(graph.entity_types, [*self._new_types, *[kind] * len(items)]),
            entity_names=_with(graph.entity_names, [*self.new_names, *titles]),
            relations=graph.relations,
            phrases=graph.phrases,
            head=np.concatenate([graph.head, np.where(is_head, node, entity)]),
            relation=np.concatenate([graph.relation, relation]),
            tail=np.concatenate([graph.tail, np.where(is_head, entity, node)]),
            item_entity=np.concatenate([graph.item_entity, nodes]),
        )

    def _edge(self, relation: str, entity: str) -> tuple[int, int, bool]:
        graph = self.graph
        kinds = [n for n, name in enumerate(graph.relations) if name == relation]
        kinds = [kind for kind in kinds if len(self._ends[kind][1])]
        if not kinds:
            known = ", ".join(dict.fromkeys(graph.relations)) or "none"
            raise RequestError(f"Expected a relation out of {known}, got {relation!r}")
        for kind in kinds:
            is_head, ends = self._ends[kind]
            for names in (graph.entity_ids, graph.entity_names):
                match = ends[names[ends] == entity]
                if len(match):
                    return kind, int(match[0]), is_head
        is_head, ends = self._ends[kinds[0]]
        entity_type = str(graph.entity_types[ends[0]])
        if (entity_type, entity) not in self._new_of:
            self._new_of[entity_type, entity] = graph.num_entities + len(self.new_names)
            self.new_names.append(entity)
            self._new_types.append(entity_type)
        return kinds[0], self._new_of[entity_type, entity], is_head


def extended_items(items: Items, new: Sequence[NewItem]) -> Items:
    """Return the catalogue with new items at the end.

    Raises:
        RequestError: A number's column is not in the catalogue, or a vector is not like its own.
    """
    unknown = sorted({name for item in new for name in item.numeric} - set(items.numeric))
    if unknown:
        known = ", ".join(items.numeric) or "none"
        raise RequestError(f"Expected numeric columns out of {known}, got {', '.join(unknown)}")
    vectors = vectors_of_new(items, new)
    numeric = {
        name: np.concatenate(
            [column, np.array([item.numeric.get(name, np.nan) for item in new], dtype=np.float32)]
        )
        for name, column in items.numeric.items()
    }
    return replace(
        items,
        ids=_with(items.ids, [item.item_id for item in new]),
        titles=_with(items.titles, [item.title for item in new]),
        texts=_with(items.texts, [item.text or item.title for item in new]),
        numeric=numeric,
        listed=None if items.listed is None else np.append(items.listed, np.ones(len(new), bool)),
        vectors=None if items.vectors is None else np.concatenate([items.vectors, vectors]),
    )


def vectors_of_new(items: Items, new: Sequence[NewItem]) -> FloatArray:
    """Return the vectors of new items as they came, shape (len(new), D), zeros for none.

    Raises:
        RequestError: A vector is of another length than those of the catalogue.
    """
    dim = 0 if items.vectors is None else items.vectors.shape[1]
    for item in new:
        if item.vector and len(item.vector) != dim:
            expected = (
                f"a vector of {dim} numbers" if dim else "no vector, as the catalogue has none"
            )
            raise RequestError(f"Expected {expected}, got one of {len(item.vector)}")
    rows = [item.vector or (0.0,) * dim for item in new]
    return np.array(rows, dtype=np.float32).reshape(len(new), dim)


def _with(column: Strings, values: list[str]) -> StringColumn:
    return StringColumn.of(column).extended(values)
