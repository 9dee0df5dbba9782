"""The graph store contract on a real Neo4j server."""

from __future__ import annotations

import pytest
from graph_store_contract import GraphStoreContract

from graph_etl.store.neo4j_store import Neo4jStore

pytestmark = pytest.mark.neo4j


class TestNeo4jStore(GraphStoreContract):
    max_id_bytes = 8_000

    @pytest.fixture
    def store(self, neo4j_empty):
        with Neo4jStore(neo4j_empty) as store:
            yield store

    @pytest.fixture
    def reopen(self, neo4j_empty):
        def closed_and_opened(store):
            store.close()
            return Neo4jStore(neo4j_empty, read_only=True)

        return closed_and_opened
