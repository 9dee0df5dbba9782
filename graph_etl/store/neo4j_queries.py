"""Cypher that only Neo4j needs, as pure functions -> (query, parameters).

The store's own record (two nodes), and rows in columns: one list a property is packed and unpacked
in half the time of one list a row. Relationships are joined by the server's internal node ids,
which a load has just read and which save it two index look-ups a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph_etl.store.cypher_queries import (
    ENTITY_LABEL,
    RELATION_TYPE_LABEL,
    Statement,
    quoted,
)

Columns = Mapping[str, Sequence[Any]]
STORE_LABEL = "__Store__"
SCHEMA_VERSION = 1
PAGE_ENTITIES = 10_000

SAID = ("source", "engine", "run_id")  # repeats over many triples; each combination is sent once

_RECORD = f"(s:{STORE_LABEL} {{key: 'record'}})"
_LOCK = f"(l:{STORE_LABEL} {{key: 'lock'}})"
_SIZES = (
    f"s.entities = COUNT {{ MATCH (:{ENTITY_LABEL}) }}",
    "s.relationships = COUNT { MATCH ()-[]->() }",
)
# Internal ids are integers in Cypher 5 alone; every server from 5.26 on still speaks it.
_EACH = "CYPHER 5 UNWIND range(0, size($%s) - 1) AS i "
_BY_NODE_ID = _EACH % "head" + "MATCH (h) WHERE id(h) = $head[i] MATCH (t) WHERE id(t) = $tail[i] "
_VALUES = {
    **{name: f"$said[$said_of[i]][{i}]" for i, name in enumerate(SAID)},
    "doc_id": "$doc_id[i]",
    "confidence": "$confidence[i]",
}


def make_record() -> tuple[Statement, Statement]:
    """Create the record and the lock, and note the schema's version; nothing where they are."""
    own = f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{STORE_LABEL}) REQUIRE n.key IS UNIQUE"
    query = (
        f"MERGE {_RECORD} MERGE {_LOCK} WITH s WHERE s.schema_version IS NULL "
        "OR s.schema_version < $version SET s.schema_version = $version"
    )
    return Statement(own, {}), Statement(query, {"version": SCHEMA_VERSION})


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


def has_other_nodes() -> Statement:
    """Return whether the database has nodes beside the store's own two, by the server's counts."""
    query = f"RETURN COUNT {{ MATCH (n) }} > COUNT {{ MATCH (s:{STORE_LABEL}) }} AS others"
    return Statement(query, {})


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
        "collect(node) AS head_node, collect(id(t)) AS tail_node, "
        "collect(coalesce(r.doc_id, '')) AS doc_id, "
        "collect(coalesce(r.confidence, 0.0)) AS confidence"
    )
    return Statement(query, {"head_nodes": head_nodes})


def node_ids_of(entity_ids: Sequence[str]) -> Statement:
    """Return columns entity_id and node_id of those of the entities that are there."""
    query = (
        f"CYPHER 5 UNWIND $entity_ids AS wanted MATCH (n:{ENTITY_LABEL} {{entity_id: wanted}}) "
        "RETURN collect(wanted) AS entity_id, collect(id(n)) AS node_id"
    )
    return Statement(query, {"entity_ids": entity_ids})


def create_entities(label: str, columns: Columns) -> Statement:
    """Create entities of one type and return their node ids; columns are entity_id and name."""
    query = (
        f"{_EACH % 'entity_id'}CREATE (n:{quoted(label)}:{ENTITY_LABEL} "
        "{entity_id: $entity_id[i], name: $name[i]}) "
        "RETURN collect($entity_id[i]) AS entity_id, collect(id(n)) AS node_id"
    )
    return Statement(query, dict(columns))


def merge_entities(label: str, columns: Columns) -> Statement:
    """Create or update entities; columns and answer as in ``create_entities``."""
    query = (
        f"{_EACH % 'entity_id'}MERGE (n:{quoted(label)} {{entity_id: $entity_id[i]}}) "
        f"ON CREATE SET n:{ENTITY_LABEL} SET n.name = $name[i] "
        "RETURN collect($entity_id[i]) AS entity_id, collect(id(n)) AS node_id"
    )
    return Statement(query, dict(columns))


def create_relationships(relation: str, columns: Columns) -> Statement:
    """Create relationships of one type.

    Columns are head and tail (node ids), doc_id, confidence, and said_of: which of ``said``, lists
    of the values of SAID, belongs to the row.
    """
    values = ", ".join(f"{name}: {value}" for name, value in _VALUES.items())
    query = f"{_BY_NODE_ID}CREATE (h)-[:{quoted(relation)} {{{values}}}]->(t)"
    return Statement(query, dict(columns))


def merge_relationships(relation: str, columns: Columns) -> Statement:
    """Create or update relationships; columns as in ``create_relationships``."""
    values = ", ".join(f"r.{name} = {value}" for name, value in _VALUES.items())
    query = f"{_BY_NODE_ID}MERGE (h)-[r:{quoted(relation)}]->(t) SET {values}"
    return Statement(query, dict(columns))


def delete_some_nodes(limit: int) -> Statement:
    """Delete some nodes of the graph with what touches them, and return how many."""
    query = (
        f"MATCH (n:{ENTITY_LABEL}|{RELATION_TYPE_LABEL}) "
        "WHERE n.entity_id IS NOT NULL OR n.key IS NOT NULL WITH n LIMIT $limit DETACH DELETE n "
        "RETURN count(*) AS deleted"
    )
    return Statement(query, {"limit": limit})
