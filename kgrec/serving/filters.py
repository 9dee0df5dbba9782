"""Which items a request allows: attributes through the graph, numeric ranges, and exclusions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rapidfuzz import process

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, IntArray
from kgrec.errors import RequestError
from kgrec.serving.catalogue import Catalogue

Filters = Mapping[str, Any]


class ItemFilter:
    """Turns the filters of a request into a mask over the catalogue.

    A filter's key is a relation of the graph or a numeric column. A relation takes an entity's
    name or id, or a list of them (any of these); a column takes a number or a (least, most) pair,
    both included, either None for open. Several keys must all hold. An item without the fact or
    the number is not allowed.
    """

    def __init__(self, catalogue: Catalogue, graph: KnowledgeGraph) -> None:
        self._catalogue = catalogue
        self._graph = graph
        self._item_of = np.full(graph.num_entities, -1, dtype=np.int64)
        self._item_of[graph.item_entity] = np.arange(len(graph.item_entity))

    @property
    def keys(self) -> list[str]:
        """What a filter may name: relations of the graph, then numeric columns."""
        return [*dict.fromkeys(self._graph.relations), *self._catalogue.items.numeric]

    def allowed(self, filters: Filters | None, exclude: Iterable[str | int] = ()) -> BoolArray:
        """Return which items a request allows, shape (num_items,).

        Args:
            filters: Relation or numeric column -> what it must be; None for no limit.
            exclude: Item ids to leave out; ids that are not known are left out anyway.

        Raises:
            RequestError: A key or a value is not known.
        """
        allowed = np.ones(len(self._catalogue), dtype=bool)
        for key, wanted in (filters or {}).items():
            if key in self._graph.relations:
                allowed &= self._with_entity(key, wanted)
            elif key in self._catalogue.items.numeric:
                allowed &= self._in_range(key, wanted)
            else:
                known = f"a filter out of {', '.join(self.keys)}" if self.keys else "no filter"
                why = "" if self.keys else ": the items have neither facts nor numbers"
                raise RequestError(f"Expected {known}, got {key!r}{why}")
        allowed[self._catalogue.rows(exclude)] = False
        return allowed

    def _with_entity(self, relation: str, wanted: Any) -> BoolArray:
        rows = np.flatnonzero([name == relation for name in self._graph.relations])
        triples = np.isin(self._graph.relation, rows)
        head, tail = self._graph.head[triples], self._graph.tail[triples]
        values = wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
        none = np.empty(0, dtype=np.int64)
        found = [self._entities(relation, value, head, tail) for value in values]
        chosen = np.concatenate([none, *found])
        ends = np.concatenate([head[np.isin(tail, chosen)], tail[np.isin(head, chosen)]])
        items = self._item_of[ends]
        mask = np.zeros(len(self._catalogue), dtype=bool)
        mask[items[items >= 0]] = True
        return mask

    def _entities(self, relation: str, value: Any, head: IntArray, tail: IntArray) -> IntArray:
        nodes = np.unique(np.concatenate([head, tail]))
        text = str(value)
        names, ids = self._graph.entity_names[nodes], self._graph.entity_ids[nodes]
        found: IntArray = nodes[(names == text) | (ids == text)]
        if len(found) == 0:
            pool = sorted(set(names[self._item_of[nodes] < 0])) or sorted(set(names))
            nearest = [name for name, _, _ in process.extract(text, pool, limit=3)]
            raise RequestError(
                f"Expected the name or id of an entity under {relation!r}, got {value!r}; "
                f"nearest: {', '.join(map(repr, nearest)) or 'none'}"
            )
        return found

    def _in_range(self, column: str, wanted: Any) -> BoolArray:
        try:
            least, most = wanted if isinstance(wanted, list | tuple) else (wanted, wanted)
            low = -np.inf if least is None else float(least)
            high = np.inf if most is None else float(most)
        except (TypeError, ValueError) as error:
            raise RequestError(
                f"Expected a number or a (least, most) pair for the filter {column!r}, "
                f"got {wanted!r}"
            ) from error
        values = self._catalogue.items.numeric[column]
        return np.asarray((values >= low) & (values <= high))  # NaN compares false
