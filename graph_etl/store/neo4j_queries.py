"""Cypher that only Neo4j needs, as pure functions -> (query, parameters).

The store's own record (two nodes), reads in pages of columns, and relationships joined by the
server's internal node ids, which a load has just read and which save it two index look-ups a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graph_etl.store.cypher_queries import (
    ENTITY_LABEL,
    PROVENANCE,
    RELATION_TYPE_LABEL,
    Pattern,
    Statement,
    quoted,
    unique_marker_ids,
)

STORE_LABEL = "__Store__"
SCHEMA_VERSION = 1
PAGE_ENTITIES = 10_000

_RECORD = f"(s:{STORE_LABEL} {{key: 'record'}})"
_LOCK = f"(l:{STORE_LABEL} {{key: 'lock'}})"
_SIZES = (
    f"s.entities = COUNT {{ MATCH (:{ENTITY_LABEL}) }}",
    "s.relationships = COUNT { MATCH ()-[]->() }",
)
# Internal ids are integers in Cypher 5 alone; every server from 5.26 on still speaks it.
_BY_NODE_ID = (
    "CYPHER 5 UNWIND $rows AS row MATCH (h) WHERE id(h) = row[0] MATCH (t) WHERE id(t) = row[1] "
)


def constraints() -> tuple[Statement, ...]:
    """Return the constraints of SCHEMA_VERSION; each may hold already."""
    own = f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{STORE_LABEL}) REQUIRE n.key IS UNIQUE"
    return (*unique_marker_ids(), Statement(own, {}))


def make_record() -> Statement:
    """Create the record and the lock, and note the schema's version; nothing where they are."""
    query = (
        f"MERGE {_RECORD} MERGE {_LOCK} WITH s WHERE s.schema_version IS NULL "
        "OR s.schema_version < $version SET s.schema_version = $version"
    )
    return Statement(query, {"version": SCHEMA_VERSION})


def record() -> Statement:
    """Return the record: at most one row."""
    query = (
        f"MATCH {_RECORD} RETURN s.schema_version AS schema_version, s.digest AS digest, "
        "coalesce(s.duplicates, 0) AS duplicates, coalesce(s.writes, 0) AS writes, "
        "coalesce(s.loading, false) AS loading, "
        f"coalesce({' AND '.join(_SIZES)}, false) AS same_size"
    )
    return Statement(query, {})


def is_loading() -> Statement:
    """Return a row where a load in several transactions has not ended."""
    return Statement(f"MATCH {_RECORD} WHERE s.loading RETURN 1 AS loading", {})


def start_load() -> Statement:
    """Mark the graph as unfinished."""
    return Statement(f"MATCH {_RECORD} SET s.loading = true", {})


def end_load() -> Statement:
    """Take the mark away; the graph is again what the record says."""
    return Statement(f"MATCH {_RECORD} SET s.loading = null", {})


def finish_write(digest: str | None, duplicates: int) -> Statement:
    """Record what the graph now holds, and take the mark away."""
    query = (
        f"MATCH {_RECORD} SET s.loading = null, s.digest = $digest, s.duplicates = $duplicates, "
        f"s.writes = coalesce(s.writes, 0) + 1, {', '.join(_SIZES)}"
    )
    return Statement(query, {"digest": digest, "duplicates": duplicates})


def take_lock() -> Statement:
    """Lock the lock until the transaction ends; it is never committed."""
    return Statement(f"MATCH {_LOCK} SET l.held = true", {})


def still_alive() -> Statement:
    """Return one row, to see whether a transaction still stands."""
    return Statement("RETURN 1 AS one", {})


def lock_holders(holds: str) -> Statement:
    """Return the clients whose transaction holds the lock."""
    query = (
        "SHOW TRANSACTIONS YIELD metaData, clientAddress, elapsedTime "
        "WHERE metaData.kgrec_lock = $holds "
        "RETURN clientAddress AS client, toString(elapsedTime) AS elapsed"
    )
    return Statement(query, {"holds": holds})


def num_entities() -> Statement:
    """Return the number of entities."""
    return Statement(f"MATCH (n:{ENTITY_LABEL}) RETURN count(n.entity_id) AS count", {})


def entities_page(after: str) -> Statement:
    """Return columns of the next PAGE_ENTITIES entities in the order of the index of entity_id."""
    query = (
        f"CYPHER 5 MATCH (n:{ENTITY_LABEL}) USING INDEX n:{ENTITY_LABEL}(entity_id) "
        "WHERE n.entity_id > $after WITH n ORDER BY n.entity_id LIMIT $limit "
        "RETURN collect(n.entity_id) AS entity_id, "
        f"collect(coalesce([x IN labels(n) WHERE x <> '{ENTITY_LABEL}'][0], '')) AS entity_type, "
        "collect(coalesce(n.name, '')) AS name, collect(id(n)) AS node_id"
    )
    return Statement(query, {"after": after, "limit": PAGE_ENTITIES})


def relationships_of(head_nodes: Sequence[int]) -> Statement:
    """Return the relationships of heads by node id, grouped by what repeats.

    ``collect`` leaves nulls out, so where a doc_id or a confidence is null is part of the group.
    """
    query = (
        "CYPHER 5 UNWIND $head_nodes AS node MATCH (h) WHERE id(h) = node "
        f"MATCH (h)-[r]->(t:{ENTITY_LABEL}) "
        "RETURN type(r) AS relation, r.source AS source, r.engine AS engine, r.run_id AS run_id, "
        "r.doc_id IS NULL AS no_doc_id, r.confidence IS NULL AS no_confidence, "
        "collect(h.entity_id) AS head_id, collect(t.entity_id) AS tail_id, "
        "collect(coalesce(r.doc_id, '')) AS doc_id, "
        "collect(coalesce(r.confidence, 0.0)) AS confidence"
    )
    return Statement(query, {"head_nodes": head_nodes})


def merge_entities(label: str, rows: Sequence[Sequence[Any]]) -> Statement:
    """Create or update entities of one type and return their node ids; rows are (id, name)."""
    query = (
        f"CYPHER 5 UNWIND $rows AS row MERGE (n:{quoted(label)} {{entity_id: row[0]}}) "
        f"ON CREATE SET n:{ENTITY_LABEL} SET n.name = row[1] "
        "RETURN collect(row[0]) AS entity_id, collect(id(n)) AS node_id"
    )
    return Statement(query, {"rows": rows})


def create_relationships(pattern: Pattern, rows: Sequence[Sequence[Any]]) -> Statement:
    """Create relationships; rows are (head node id, tail node id, *PROVENANCE)."""
    values = ", ".join(f"{name}: row[{i}]" for i, name in enumerate(PROVENANCE, 2))
    query = f"{_BY_NODE_ID}CREATE (h)-[:{quoted(pattern[1])} {{{values}}}]->(t)"
    return Statement(query, {"rows": rows})


def merge_relationships(pattern: Pattern, rows: Sequence[Sequence[Any]]) -> Statement:
    """Create or update relationships; rows as in ``create_relationships``."""
    values = ", ".join(f"r.{name} = row[{i}]" for i, name in enumerate(PROVENANCE, 2))
    query = f"{_BY_NODE_ID}MERGE (h)-[r:{quoted(pattern[1])}]->(t) SET {values}"
    return Statement(query, {"rows": rows})


def delete_some_nodes(limit: int) -> Statement:
    """Delete some nodes of the graph with what touches them, and return how many."""
    query = (
        f"MATCH (n:{ENTITY_LABEL}|{RELATION_TYPE_LABEL}) "
        "WHERE n.entity_id IS NOT NULL OR n.key IS NOT NULL WITH n LIMIT $limit DETACH DELETE n "
        "RETURN count(*) AS deleted"
    )
    return Statement(query, {"limit": limit})
