"""Compiled look-ups for reasons: which ways join items in the graph, who liked two items both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import IntArray
from kgrec.models.compiled import compiled
from kgrec.models.sparse_rows import chains, slot_of


def grouped(keys: IntArray, num_keys: int) -> tuple[IntArray, npt.NDArray[np.signedinteger]]:
    """Return (indptr, order): the places of each key, in their order, without sorting.

    Args:
        keys: Shape (n,), int64, -1..num_keys - 1; places of -1 are left out.
        num_keys: Number of keys.
    """
    indptr = np.concatenate([[0], np.cumsum(np.bincount(keys + 1, minlength=num_keys + 1)[1:])])
    narrow = len(keys) < np.iinfo(np.int32).max
    order = np.empty(indptr[-1], dtype=np.int32 if narrow else np.int64)
    _place(keys, indptr[:-1].copy(), order)
    return indptr, order


@compiled
def _place(keys: Any, following: Any, order: Any) -> None:
    for place in range(len(keys)):
        if keys[place] >= 0:
            order[following[keys[place]]] = place
            following[keys[place]] += 1


@compiled
def edges_of_one(places: Any, head: Any, tail: Any) -> Any:
    """Return (neighbour, triple) of edges told by places in head, then tail."""
    near = np.empty(len(places), dtype=np.int64)
    triples = np.empty(len(places), dtype=np.int64)
    for at in range(len(places)):
        backward = places[at] >= len(head)
        triple = places[at] - len(head) if backward else places[at]
        near[at] = head[triple] if backward else tail[triple]
        triples[at] = triple
    return near, triples


@compiled
def shared_ways(
    places: Any,
    head: Any,
    tail: Any,
    relation: Any,
    kind_of: Any,
    node: Any,
    generic: Any,
    kept: Any,
    edge_liked: Any,
    edge_triple: Any,
    table: Any,
    first: Any,
    following: Any,
    is_generic: Any,
    idf: Any,
    weight_of_direct: Any,
) -> Any:
    """Return the ways of two triples, and of one, from liked items to a candidate.

    Args:
        places: The candidate's edges, as ``edges_of_one`` takes them.
        head: Shape (num_triples,).
        tail: Shape (num_triples,).
        relation: Shape (num_triples,).
        kind_of: The kind of each relation; relations of one name are of one kind.
        node: The candidate's entity.
        generic: Whether ways with a generic triple are wanted, or those without.
        kept: Shape (L,), bool: liked items that count.
        edge_liked: Shape (e,), for each edge of a liked item which one it is, ascending.
        edge_triple: Shape (e,).
        table: With the next two, ``chains`` of what the edges lead to.
        first: See above.
        following: See above.
        is_generic: Shape (num_triples,), bool.
        idf: Shape (num_entities,).
        weight_of_direct: Weight of a triple that joins the two items; 0: do not look for it.

    Returns:
        For n ways: the liked item's place in ``kept``, the entity in the middle (-1 for a way of
        one triple), the triples (n, 3), -1 where there are fewer, and the weight.
    """
    near, near_triple = edges_of_one(places, head, tail)
    most = 0
    for place in range(len(near) + 1):
        edge = first[slot_of(table, near[place] if place < len(near) else node)]
        while edge >= 0:
            most += 1
            edge = following[edge]
    liked = np.empty(most, dtype=np.int64)
    middles = np.empty(most, dtype=np.int64)
    triples = np.full((most, 3), -1, dtype=np.int64)
    weights = np.empty(most)
    count = 0
    for place in range(len(near)):
        middle = near[place]
        start = first[slot_of(table, middle)]
        if middle == node or start < 0:
            continue
        fan_out = 0
        for other in range(len(near)):
            own, theirs = relation[near_triple[place]], relation[near_triple[other]]
            fan_out += kind_of[own] == kind_of[theirs]
        support, last, edge = 0, -1, start
        while edge >= 0:
            if kept[edge_liked[edge]] and edge_liked[edge] != last:
                support += 1
                last = edge_liked[edge]
            edge = following[edge]
        weight = idf[middle] * (1.0 + np.log(max(support, 1))) / np.sqrt(1.0 + np.log(fan_out))
        edge = start
        while edge >= 0:
            one, two = is_generic[edge_triple[edge]], is_generic[near_triple[place]]
            if kept[edge_liked[edge]] and (one or two) == generic:
                liked[count], middles[count], weights[count] = edge_liked[edge], middle, weight
                triples[count, 0], triples[count, 1] = edge_triple[edge], near_triple[place]
                count += 1
            edge = following[edge]
    edge = first[slot_of(table, node)] if weight_of_direct > 0.0 else -1
    while edge >= 0:
        if kept[edge_liked[edge]]:
            liked[count], middles[count], weights[count] = edge_liked[edge], -1, weight_of_direct
            triples[count, 0] = edge_triple[edge]
            count += 1
        edge = following[edge]
    return liked[:count], middles[:count], triples[:count], weights[:count]


@compiled
def co_counts(indptr: Any, users: Any, left: Any, right: Any) -> Any:
    """Return how many users liked both items, shape (len(left), len(right)), int64.

    Args:
        indptr: Shape (num_items + 1,): the users of each item.
        users: Users, each once an item.
        left: Rows of items; their users are put in a table: the fewer the better.
        right: Rows of items.
    """
    total = 0
    for item in left:
        total += indptr[item + 1] - indptr[item]
    keys = np.empty(total, dtype=np.int64)
    owner = np.empty(total, dtype=np.int64)
    size = 0
    for place in range(len(left)):
        for at in range(indptr[left[place]], indptr[left[place] + 1]):
            keys[size], owner[size] = users[at], place
            size += 1
    table, first, following = chains(keys)
    counts = np.zeros((len(left), len(right)), dtype=np.int64)
    for place in range(len(right)):
        for at in range(indptr[right[place]], indptr[right[place] + 1]):
            entry = first[slot_of(table, users[at])]
            while entry >= 0:
                counts[owner[entry], place] += 1
                entry = following[entry]
    return counts
