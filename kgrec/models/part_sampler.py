"""Draws the part of graph and likes that a training step propagates over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.models.compiled import compiled
from kgrec.models.graph_encoder import RelationalGraph
from kgrec.models.graph_part import GraphPart
from kgrec.models.messages import Messages
from kgrec.models.neighbours import Neighbours
from kgrec.models.propagation import SparseOperator
from kgrec.models.towers_config import TowersConfig

_NONE: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class _Heard:
    """Edges of a part, in its numbers, with their weights by degrees; shape (num_edges,) each."""

    target: IntArray
    source: IntArray
    value: FloatArray


class PartSampler:
    """Draws parts: each node hears from at most ``config.neighbours`` of its neighbours.

    A layer's sums over what is drawn, divided by the probability to be drawn, are on average those
    over everything (GraphSAGE's neighbourhoods, Hamilton et al. 2017, with the degrees of the whole
    graph in the norm). A node keeps its draw through all layers.

    Args:
        graph: The triples; None: the knowledge graph is off.
        likes: The train likes, by user; None: items hear nothing of users.
        num_users, num_items: Sizes of the catalogue.
        config: Settings.
    """

    def __init__(
        self,
        graph: RelationalGraph | None,
        likes: Interactions | None,
        num_users: int,
        num_items: int,
        config: TowersConfig,
    ) -> None:
        self.graph = graph
        self.num_users = num_users
        self.num_items = num_items
        self.config = config
        self.likes = likes
        if likes is not None:
            self.items_of = Neighbours.of(likes.user_idx, likes.item_idx, num_users)
            self.users_of = Neighbours.of(likes.item_idx, likes.user_idx, num_items)

    def around(self, asked: IntArray, left_out: IntArray, seed: int) -> GraphPart:
        """Return the part round some items.

        Args:
            asked: Shape (n,), int64, each once: items whose vectors are wanted.
            left_out: Numbers of likes that are not to be drawn, nor counted in degrees.
            seed: Of the draws, in 0..2^61-1.
        """
        nodes = _Numbers(self.num_items if self.graph is None else self.graph.num_nodes)
        nodes.of(asked)
        users = _Numbers(self.num_users)
        to_items = to_users = between = _Heard(_NONE, _NONE, np.zeros(0, dtype=np.float32))
        relation = _NONE
        if self.likes is not None:
            to_items, to_users = self._likes(self.likes, left_out, seed, nodes, users)
        num_hearing = nodes.count
        if self.graph is not None:
            between, relation = self._triples(self.graph, seed, nodes)
        found = nodes.found()
        is_item = found < self.num_items
        num_items = int(is_item.sum())
        place = np.where(is_item, np.cumsum(is_item) - 1, num_items + np.cumsum(~is_item) - 1)
        return GraphPart(
            num_asked=len(asked),
            num_hearing=num_hearing,
            items=torch.from_numpy(found[is_item]),
            entities=torch.from_numpy(found[~is_item] - self.num_items),
            messages=Messages.of(
                place[between.target],
                place[between.source],
                relation,
                len(found),
                0 if self.graph is None else self.graph.num_relations,
            ),
            message_values=torch.from_numpy(between.value),
            to_users=SparseOperator.from_edges(
                to_users.target, to_users.source, (users.count, num_hearing)
            ),
            to_users_values=torch.from_numpy(to_users.value),
            to_items=SparseOperator.from_edges(
                to_items.target, to_items.source, (len(asked), users.count)
            ),
            to_items_values=torch.from_numpy(to_items.value),
        )

    def _likes(
        self,
        likes: Interactions,
        left_out: IntArray,
        seed: int,
        nodes: _Numbers,
        users: _Numbers,
    ) -> tuple[_Heard, _Heard]:
        """Return what items asked for hear of users, and what these users hear of items."""
        is_left_out = np.zeros(len(likes), dtype=np.bool_)
        is_left_out[left_out] = True
        less = {
            "user": np.bincount(likes.user_idx[left_out], minlength=self.num_users),
            "item": np.bincount(likes.item_idx[left_out], minlength=self.num_items),
        }
        user_degree = np.diff(self.items_of.indptr) - less["user"]
        item_degree = np.diff(self.users_of.indptr) - less["item"]
        asked = nodes.found()
        fan_out, dropout = self.config.neighbours, self.config.edge_dropout
        drawn = self.users_of.draw(
            asked, fan_out, dropout, 4 * seed, is_left_out, less["item"][asked]
        )
        ends = self.users_of.source[drawn.place].astype(np.int64)
        norm = item_degree[asked][drawn.row] * user_degree[ends]
        to_items = _Heard(drawn.row, users.of(ends), _values(drawn.scale[drawn.row], norm))
        found = users.found()
        drawn = self.items_of.draw(
            found, fan_out, dropout, 4 * seed + 1, is_left_out, less["user"][found]
        )
        ends = self.items_of.source[drawn.place].astype(np.int64)
        norm = user_degree[found][drawn.row] * item_degree[ends]
        return to_items, _Heard(drawn.row, nodes.of(ends), _values(drawn.scale[drawn.row], norm))

    def _triples(
        self, graph: RelationalGraph, seed: int, nodes: _Numbers
    ) -> tuple[_Heard, IntArray]:
        """Return the messages drawn, layer by layer outwards, and their relations."""
        incoming, kinds = graph.incoming
        targets, places, values = [], [], []
        heard = 0
        for _ in range(self.config.graph_layers):
            ring = nodes.found()[heard:]
            drawn = incoming.draw(
                ring, self.config.neighbours, self.config.edge_dropout, 4 * seed + 2
            )
            ends = incoming.source[drawn.place]
            degree = np.diff(incoming.indptr)
            norm = degree[ring][drawn.row] * degree[ends]
            targets.append(heard + drawn.row)
            places.append(drawn.place)
            values.append(_values(drawn.scale[drawn.row], norm))
            heard = nodes.count
            nodes.of(ends.astype(np.int64))
        place = np.concatenate(places)
        source = nodes.of(incoming.source[place].astype(np.int64))
        heard_of = _Heard(np.concatenate(targets), source, np.concatenate(values))
        return heard_of, kinds[place].astype(np.int64)


def _values(scale: FloatArray, norm: IntArray) -> FloatArray:
    """Return scale / sqrt(degree of one end * degree of the other)."""
    return (scale / np.sqrt(norm)).astype(np.float32)


class _Numbers:
    """Numbers things in the order in which they are met."""

    def __init__(self, size: int) -> None:
        self._number = np.full(size, -1, dtype=np.int32)
        self._met = np.empty(size, dtype=np.int32)
        self.count = 0

    def of(self, things: IntArray) -> IntArray:
        """Return the numbers of things, new ones for those not met before."""
        numbers = np.empty(len(things), dtype=np.int64)
        self.count = _numbered(things, self._number, self._met, self.count, numbers)
        return numbers

    def found(self) -> IntArray:
        """Return the things met, in the order of their numbers."""
        return self._met[: self.count].astype(np.int64)


@compiled
def _numbered(things: Any, number: Any, met: Any, count: Any, numbers: Any) -> Any:
    for place in range(len(things)):
        thing = things[place]
        if number[thing] < 0:
            number[thing] = count
            met[count] = thing
            count += 1
        numbers[place] = number[thing]
    return count
