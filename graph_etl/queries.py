"""The graph for people: neighbors, paths, subgraphs and Cypher over the folder of a build.

Read-only. What is asked of the graph goes to its store, what users liked to its snapshot.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import networkx as nx
import polars as pl

from graph_etl.build_folder import snapshot_path
from graph_etl.errors import DataError
from graph_etl.snapshot import Snapshot, load_snapshot
from graph_etl.store import Entity, GraphPath, GraphStore, Neighbor, QueryResult, open_store

_MAX_LIKED = 50


class Graph:
    """A built graph, open for reading; use it as a context manager or close it.

    Entities are named by entity_id, or by a name that only one entity has.

        with Graph.open("runs/shop") as graph:
            graph.neighbors("Emma")
            graph.cypher("MATCH (b:book {name: $name}) RETURN b", name="Emma")
    """

    def __init__(self, snapshot: Snapshot, store: GraphStore) -> None:
        """Take a snapshot and an open store that mirrors it."""
        self.snapshot = snapshot
        self.store = store

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the folder that 'graph-etl build' wrote.

        Raises:
            SnapshotError: There is no snapshot, or a damaged one.
            StoreError: It was built without a store, or the store is damaged.
        """
        snapshot = load_snapshot(snapshot_path(folder))
        return cls(snapshot, open_store("kglite", folder, read_only=True))

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def find(self, name: str, *, limit: int = 10) -> list[Entity]:
        """Return entities whose name contains ``name``; see GraphStore.find."""
        return self.store.find(name, limit=limit)

    def entity(self, name: str) -> Entity:
        """Return the entity with this id, or the only one with this name, case ignored.

        Raises:
            DataError: None has it, or several have; the message names candidates.
        """
        by_id = self.snapshot.entities.filter(entity_id=name)
        if by_id.height:
            return self.store.entity(name)
        near = self.store.find(name, limit=20)
        whole = [entity for entity in near if entity.name.lower() == name.lower()]
        if len(whole) == 1:
            return whole[0]
        said = "none has it" if not whole else f"{len(whole)} entities have it"
        ids = [entity.entity_id for entity in (whole or near)[:5]]
        raise DataError(
            f"Expected an entity_id or the name of one entity, got '{name}': {said}; "
            + (f"give one of the ids {ids}" if ids else "look for it with find()")
        )

    def neighbors(self, entity: str, *, limit: int = 100) -> list[Neighbor]:
        """Return what an entity is joined to; see GraphStore.neighbors."""
        return self.store.neighbors(self.entity(entity).entity_id, limit=limit)

    def paths(
        self, start: str, end: str, max_length: int = 3, *, limit: int = 20
    ) -> list[GraphPath]:
        """Return simple paths between two entities, shortest first; see GraphStore.paths."""
        start_id, end_id = self.entity(start).entity_id, self.entity(end).entity_id
        return self.store.paths(start_id, end_id, max_length, limit=limit)

    def paths_from_user(
        self, user_id: str, item_id: str, max_length: int = 2, *, limit: int = 20
    ) -> list[GraphPath]:
        """Return paths from items that a user liked to an item, shortest first.

        Args:
            user_id: External id of a user in the snapshot.
            item_id: External id of an item.
            max_length: Longest path in relationships.
            limit: At most so many paths; of the liked items the latest 50 are asked.

        Raises:
            DataError: The snapshot has no such user or item.
        """
        end_id = self._item_entity_id(item_id)
        found = [
            path
            for start_id in self._liked_entity_ids(user_id)
            if start_id != end_id
            for path in self.store.paths(start_id, end_id, max_length, limit=limit)
        ]
        return sorted(found, key=lambda path: path.length)[:limit]

    def subgraph(self, entity: str, hops: int = 1, *, max_entities: int = 200) -> nx.MultiDiGraph:
        """Return an entity's surroundings as a networkx graph.

        Args:
            entity: The centre.
            hops: How far to go, in relationships.
            max_entities: No further entities are added beyond so many.

        Returns:
            Nodes are entity_ids with ``name`` and ``entity_type``; edges go from head to tail with
            the relation as key; only relationships met on the way are there.
        """
        centre = self.entity(entity)
        graph = nx.MultiDiGraph()
        _add_node(graph, centre)
        frontier = [centre]
        for _ in range(hops):
            found: list[Entity] = []
            for near in frontier:
                for neighbor in self.store.neighbors(near.entity_id, limit=max_entities):
                    far = neighbor.entity
                    if far.entity_id not in graph:
                        if graph.number_of_nodes() >= max_entities:
                            continue
                        _add_node(graph, far)
                        found.append(far)
                    ends = (near.entity_id, far.entity_id)
                    graph.add_edge(
                        *(ends if neighbor.outgoing else ends[::-1]), key=neighbor.relation
                    )
            frontier = found
        return graph

    def cypher(
        self, text: str, *, timeout_s: float = 30.0, max_rows: int = 1000, **params: Any
    ) -> QueryResult:
        """Run a read-only Cypher query; ``params`` are its ``$name``s; see GraphStore.query."""
        return self.store.query(text, params, timeout_s=timeout_s, max_rows=max_rows)

    def _item_entity_id(self, item_id: str) -> str:
        found = self.snapshot.items.filter(item_id=item_id)
        if not found.height:
            raise DataError(f"Expected the id of an item of the snapshot, got '{item_id}'")
        return str(self.snapshot.entities["entity_id"][int(found["entity_idx"][0])])

    def _liked_entity_ids(self, user_id: str) -> list[str]:
        user = self.snapshot.users.filter(user_id=user_id)
        if not user.height:
            raise DataError(f"Expected the id of a user of the snapshot, got '{user_id}'")
        liked = (
            self.snapshot.interactions.filter(
                pl.col("positive"), pl.col("user_idx") == user["user_idx"][0]
            )
            .sort("timestamp", "item_idx", descending=[True, False], nulls_last=True)
            .unique("item_idx", keep="first", maintain_order=True)
            .head(_MAX_LIKED)
        )
        entity_idx = self.snapshot.items["entity_idx"].gather(liked["item_idx"])
        ids: list[str] = self.snapshot.entities["entity_id"].gather(entity_idx).to_list()
        return ids


def _add_node(graph: nx.MultiDiGraph, entity: Entity) -> None:
    graph.add_node(entity.entity_id, name=entity.name, entity_type=entity.entity_type)
