"""The graph for people: neighbors, paths, subgraphs, lifetimes, exports and Cypher over a build.

Read-only. Cypher goes to the store that the build used; everything else is answered out of the
snapshot, so that it is the same whichever store that is, and of one version.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from graph_etl.build_folder import snapshot_path
from graph_etl.errors import DataError, StoreError
from graph_etl.graph_arrays import Adjacency, IntArray, adjacency_of
from graph_etl.graph_exports import hetero_data, networkx_graph
from graph_etl.graph_names import EntityNames
from graph_etl.graph_paths import EntityPath, FoundPath, PathSearch
from graph_etl.lifetimes import Lifetime, lifetimes_of
from graph_etl.snapshot import Snapshot, load_snapshot
from graph_etl.statistics import GraphStatistics, statistics_of
from graph_etl.store import Entity, GraphStore, Neighbor, QueryResult, Step

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import HeteroData


class Graph:
    """A built graph, open for reading; use it as a context manager or close it.

    An entity is named by its entity_id; else by an item_id or a name (case ignored) that only one
    entity has; or it is given as an Entity that a method returned.

        with Graph.open("runs/shop") as graph:
            graph.neighbors("Emma")
            for path in graph.paths("user 7", "Emma"):
                print(path)
            graph.cypher("MATCH (b:book {name: $name}) RETURN b", name="Emma")

    Attributes:
        snapshot: The version that stood when it was opened.
    """

    def __init__(self, snapshot: Snapshot, folder: str | Path) -> None:
        """Take a snapshot and the folder of the build that it is of."""
        self.snapshot = snapshot
        self._folder = Path(folder)
        self._store: GraphStore | None = None
        self._closed = False
        self._names = EntityNames(snapshot)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the folder that 'graph-etl build' wrote; its store is opened by the first Cypher.

        Raises:
            SnapshotError: There is no snapshot, or a damaged one.
        """
        return cls(load_snapshot(snapshot_path(folder)), folder)

    @property
    def store(self) -> GraphStore:
        """The store that the build loaded, open for reading.

        Raises:
            StoreError: It was built without one, the store cannot be opened, or the graph is
                closed.
        """
        from graph_etl.builds import open_built_store

        if self._closed:
            raise StoreError(f"Expected an open graph, but that of {self._folder} was closed")
        if self._store is None:
            self._store = open_built_store(self._folder)
        return self._store

    def close(self) -> None:
        """Close the store."""
        self._closed = True
        if self._store is not None:
            self._store.close()

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
        """Return entities whose name contains ``name``, case ignored.

        Those whose whole name it is come first, then shorter names, then by entity_id.
        """
        return self._names.find(name, limit)

    def entity(self, name: str | Entity) -> Entity:
        """Return the entity that is named so.

        Raises:
            DataError: None is, or several are; the message lists them, or near names.
        """
        return self._names.at(self._names.index(name))

    def neighbors(self, entity: str | Entity, *, limit: int = 100) -> list[Neighbor]:
        """Return what an entity is joined to: outgoing first, then by relation and entity_id.

        Raises:
            DataError: The entity is unknown, or several are named so.
        """
        index = self._names.index(entity)
        row = range(self._edges.indptr[index], self._edges.indptr[index + 1])
        return [
            Neighbor(step.relation, step.outgoing, self._names.at(int(self._edges.neighbor[edge])))
            for edge, step in ((edge, self._step(edge)) for edge in row[:limit])
        ]

    def paths(
        self,
        start: str | Entity,
        end: str | Entity,
        max_length: int = 3,
        *,
        limit: int = 20,
        timeout_s: float = 30.0,
    ) -> list[EntityPath]:
        """Return simple paths to an entity, from another one or from what a user liked.

        Directions of triples are ignored on the way and told in the answer. Best first: shorter
        ones, then those whose entities in between have fewer triples (the smaller product of
        their numbers). From a user, each path starts at an item of a positive interaction and
        has no other such item in between.

        Args:
            start: A user_id, or an entity. A user_id comes before an item_id or name that is the
                same text; give the entity_id to start at that item.
            end: An item or another entity; what is asked about is never a liked item itself.
            max_length: Longest path in relationships, 1 to 6.
            limit: At most so many paths.
            timeout_s: Seconds after which the search gives up.

        Returns:
            The paths; ``str(path)`` reads "You liked X -> was directed by -> P <- was directed by
            <- Y". Empty where there is none.

        Raises:
            DataError: Start or end are unknown or ambiguous, max_length is out of range, or the
                search took too long.
        """
        target = self._names.index(end)
        user_id, sources = self._sources(start)
        found = self._search.best(
            sources, target, max_length=max_length, limit=limit, timeout_s=timeout_s
        )
        return [self._told(path, user_id) for path in found]

    def subgraph(
        self,
        entities: str | Entity | Sequence[str | Entity],
        hops: int = 1,
        *,
        max_nodes: int = 200,
    ) -> nx.MultiDiGraph:
        """Return the surroundings of entities as a networkx graph, with all triples among them.

        Args:
            entities: The centre, or several.
            hops: How far to go, in relationships.
            max_nodes: Beyond so many entities no further ones are added; nearer ones, and in one
                distance those with fewer triples, come first.

        Returns:
            As ``to_networkx``; ``graph.graph["truncated"]`` tells whether entities were left out.

        Raises:
            DataError: An entity is unknown or ambiguous.
        """
        asked = [entities] if isinstance(entities, str | Entity) else entities
        taken = np.unique(np.array([self._names.index(name) for name in asked], dtype=np.int64))
        frontier, truncated = taken, False
        for _ in range(hops):
            _, edges = self._edges.edges_of(frontier)
            near = np.setdiff1d(self._edges.neighbor[edges], taken)
            rare_first = near[np.argsort(self._edges.degree[near], kind="stable")]
            frontier = rare_first[: max(0, max_nodes - len(taken))]
            truncated |= len(frontier) < len(near)
            taken = np.concatenate([taken, frontier])
        graph = networkx_graph(self.snapshot, taken)
        graph.graph["truncated"] = truncated
        return graph

    def cypher(
        self, text: str, *, timeout_s: float = 30.0, max_rows: int = 1000, **params: Any
    ) -> QueryResult:
        """Run one read-only Cypher query in the store.

        Args:
            text: One statement; writes, LOAD CSV and most procedures are refused.
            timeout_s: Seconds after which the engine stops it.
            max_rows: At most so many rows are kept; ``truncated`` tells whether there were more.
            params: Values of ``$name`` in it; text from outside belongs here.

        Raises:
            StoreError: There is no store, or the query was refused, is wrong or took too long.
        """
        return self.store.query(text, params, timeout_s=timeout_s, max_rows=max_rows)

    def stats(self, *, top: int = 5) -> GraphStatistics:
        """Return counts, degrees, orphans, frequent entities and text coverage."""
        return statistics_of(self.snapshot, top=top)

    def lifetimes(self, entity: str | Entity) -> tuple[Lifetime, ...]:
        """Return when an entity and its triples were first and last seen, gone ones too.

        Args:
            entity: As elsewhere; one that is gone by its entity_id or last name.

        Raises:
            DataError: No version of the log has it, or several entities are named so.
        """
        return lifetimes_of(
            self._folder, entity.entity_id if isinstance(entity, Entity) else entity
        )

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return the whole graph for networkx; see graph_exports.networkx_graph."""
        return networkx_graph(self.snapshot)

    def to_hetero_data(self, interactions: pl.DataFrame | None = None) -> HeteroData:
        """Return the whole graph for torch-geometric; see graph_exports.hetero_data.

        Args:
            interactions: Rows of ``snapshot.interactions`` to add as edges from users to items. To
                train a model give its train rows, never the whole table: the edges are answers.
        """
        return hetero_data(self.snapshot, interactions)

    @cached_property
    def _edges(self) -> Adjacency:
        return adjacency_of(self.snapshot)

    @cached_property
    def _search(self) -> PathSearch:
        return PathSearch(self._edges)

    def _sources(self, start: str | Entity) -> tuple[str | None, IntArray]:
        """Return (user_id, entities of liked items), or (None, one entity)."""
        user = None
        if isinstance(start, str) and start not in self.snapshot.entities["entity_id"]:
            user = self._names.user_index(start)
        if user is None:
            return None, np.array([self._index_of_start(start)], dtype=np.int64)
        liked = self.snapshot.interactions.filter(pl.col("positive"), pl.col("user_idx") == user)
        entities = self.snapshot.items["entity_idx"].gather(liked["item_idx"].unique())
        return str(start), entities.to_numpy()

    def _index_of_start(self, start: str | Entity) -> int:
        try:
            return self._names.index(start)
        except DataError as error:
            raise DataError(f"{error} (nor is it a user_id)") from error

    def _step(self, edge: int) -> Step:
        relation = self.snapshot.relation_types["relation"][int(self._edges.relation[edge])]
        return Step(relation, bool(self._edges.outgoing[edge]))

    def _told(self, path: FoundPath, user_id: str | None) -> EntityPath:
        phrases = self.snapshot.relation_types["phrase"]
        return EntityPath(
            entities=tuple(self._names.at(index) for index in path.entities),
            steps=tuple(self._step(edge) for edge in path.edges),
            phrases=tuple(phrases[int(self._edges.relation[edge])] for edge in path.edges),
            user_id=user_id,
        )
