"""Every Cypher statement of the graph stores, as pure functions -> (query, parameters).

The same text runs on kglite and on Neo4j. Names of labels and relationship types come from the
graph schema, pass ``check_name`` and stand in backticks; everything else is a parameter.
Executing the statements is the business of the stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graph_etl.errors import SchemaViolationError
from graph_etl.graph_schema import check_name

# Labels of our own; no name that passes check_name starts with an underscore.
ENTITY_LABEL = "__Entity__"
RELATION_TYPE_LABEL = "__RelationType__"
PROVENANCE = ("source", "doc_id", "engine", "confidence", "run_id")

Pattern = tuple[str, str, str]
Rows = Sequence[dict[str, Any]]


class Statement(NamedTuple):
    """One Cypher statement and its parameters."""

    query: str
    parameters: dict[str, Any]


def quoted(name: str) -> str:
    """Return a whitelisted label or relationship type in backticks.

    Raises:
        SchemaViolationError: The name is not one that a graph schema may declare.
    """
    try:
        return f"`{check_name(name)}`"
    except ValueError as error:
        raise SchemaViolationError(
            f"Expected a label or relationship type that a graph schema may declare, got "
            f"{name[:80]!r}: {error}; rename it in the graph schema or the mapping"
        ) from error


def unique_entity_ids(label: str) -> Statement:
    """Constrain entity_id to be unique among the nodes of an entity type."""
    return _unique(quoted(label), "entity_id")


def unique_marker_ids() -> tuple[Statement, Statement]:
    """Constrain the keys of all entities and of all relation types."""
    return _unique(ENTITY_LABEL, "entity_id"), _unique(RELATION_TYPE_LABEL, "key")


def merge_entities(label: str, rows: Rows) -> Statement:
    """Create or update entities of one type; rows have entity_id and name."""
    query = (
        f"UNWIND $rows AS row MERGE (n:{quoted(label)} {{entity_id: row.entity_id}}) "
        f"ON CREATE SET n:{ENTITY_LABEL} SET n.name = row.name"
    )
    return Statement(query, {"rows": list(rows)})


def delete_entities(label: str, rows: Rows) -> Statement:
    """Delete entities of one type with whatever touches them; rows have entity_id."""
    query = (
        f"UNWIND $rows AS row MATCH (n:{quoted(label)} {{entity_id: row.entity_id}}) "
        "DETACH DELETE n"
    )
    return Statement(query, {"rows": list(rows)})


def merge_relationships(pattern: Pattern, rows: Rows) -> Statement:
    """Create or update relationships of one pattern; rows have head_id, tail_id and PROVENANCE."""
    values = ", ".join(f"r.{name} = row.{name}" for name in PROVENANCE)
    head, relation, tail = map(quoted, pattern)
    query = (
        f"UNWIND $rows AS row MATCH (h:{head} {{entity_id: row.head_id}}) "
        f"MATCH (t:{tail} {{entity_id: row.tail_id}}) MERGE (h)-[r:{relation}]->(t) SET {values}"
    )
    return Statement(query, {"rows": list(rows)})


def delete_relationships(pattern: Pattern, rows: Rows) -> Statement:
    """Delete relationships of one pattern; rows have head_id and tail_id."""
    head, relation, tail = map(quoted, pattern)
    query = (
        f"UNWIND $rows AS row MATCH (h:{head} {{entity_id: row.head_id}})"
        f"-[r:{relation}]->(t:{tail} {{entity_id: row.tail_id}}) DELETE r"
    )
    return Statement(query, {"rows": list(rows)})


def merge_relation_types(rows: Rows) -> Statement:
    """Create or update the declared patterns; rows have key, position and the four texts."""
    query = (
        f"UNWIND $rows AS row MERGE (n:{RELATION_TYPE_LABEL} {{key: row.key}}) "
        "SET n.position = row.position, n.relation = row.relation, "
        "n.head_type = row.head_type, n.tail_type = row.tail_type, n.phrase = row.phrase"
    )
    return Statement(query, {"rows": list(rows)})


def delete_relation_types(rows: Rows) -> Statement:
    """Delete declared patterns; rows have key."""
    query = f"UNWIND $rows AS row MATCH (n:{RELATION_TYPE_LABEL} {{key: row.key}}) DELETE n"
    return Statement(query, {"rows": list(rows)})


def delete_everything() -> Statement:
    """Delete every node and relationship; constraints stay."""
    return Statement("MATCH (n) DETACH DELETE n", {})


def all_entities() -> Statement:
    """Return entity_id, labels and name of every entity, in no order."""
    query = (
        f"MATCH (n:{ENTITY_LABEL}) RETURN n.entity_id AS entity_id, labels(n) AS labels, "
        "n.name AS name"
    )
    return Statement(query, {})


def all_relation_types() -> Statement:
    """Return the declared patterns in their order."""
    query = (
        f"MATCH (n:{RELATION_TYPE_LABEL}) RETURN n.key AS key, n.position AS position, "
        "n.relation AS relation, n.head_type AS head_type, n.tail_type AS tail_type, "
        "n.phrase AS phrase ORDER BY position"
    )
    return Statement(query, {})


def all_relationships(pattern: Pattern) -> Statement:
    """Return head_id, tail_id and PROVENANCE of one pattern's relationships, in no order."""
    head, relation, tail = map(quoted, pattern)
    values = ", ".join(f"r.{name} AS {name}" for name in PROVENANCE)
    query = (
        f"MATCH (h:{head})-[r:{relation}]->(t:{tail}) "
        f"RETURN h.entity_id AS head_id, t.entity_id AS tail_id, {values}"
    )
    return Statement(query, {})


def count_entities() -> Statement:
    """Return labels and count."""
    query = f"MATCH (n:{ENTITY_LABEL}) RETURN labels(n) AS labels, count(*) AS count"
    return Statement(query, {})


def count_relationships() -> Statement:
    """Return relation and count."""
    query = (
        f"MATCH (:{ENTITY_LABEL})-[r]->(:{ENTITY_LABEL}) "
        "RETURN type(r) AS relation, count(*) AS count"
    )
    return Statement(query, {})


def entities_by_id(entity_ids: Sequence[str]) -> Statement:
    """Return entity_id, labels and name of the given entities, in no order."""
    query = (
        f"UNWIND $entity_ids AS wanted MATCH (n:{ENTITY_LABEL} {{entity_id: wanted}}) "
        "RETURN n.entity_id AS entity_id, labels(n) AS labels, n.name AS name"
    )
    return Statement(query, {"entity_ids": list(entity_ids)})


def entities_by_name(name: str, limit: int) -> Statement:
    """Return entities whose name has ``name`` in it, without case; whole names first."""
    query = (
        f"MATCH (n:{ENTITY_LABEL}) WHERE toLower(n.name) CONTAINS toLower($name) "
        "RETURN n.entity_id AS entity_id, labels(n) AS labels, n.name AS name, "
        "size(n.name) AS length, "
        "CASE WHEN toLower(n.name) = toLower($name) THEN 0 ELSE 1 END AS partial "
        "ORDER BY partial, length, entity_id LIMIT $limit"
    )
    return Statement(query, {"name": name, "limit": limit})


def neighbors(entity_id: str, outgoing: bool, limit: int) -> Statement:
    """Return the neighbors of an entity in one direction, ordered by relation and entity_id."""
    arrow = "-[r]->" if outgoing else "<-[r]-"
    query = (
        f"MATCH (n:{ENTITY_LABEL} {{entity_id: $entity_id}}){arrow}(m:{ENTITY_LABEL}) "
        "RETURN type(r) AS relation, m.entity_id AS entity_id, labels(m) AS labels, "
        "m.name AS name ORDER BY relation, entity_id LIMIT $limit"
    )
    return Statement(query, {"entity_id": entity_id, "limit": limit})


def paths(start_id: str, end_id: str, length: int, limit: int) -> Statement:
    """Return the simple paths of exactly ``length`` relationships between two entities.

    Directions are ignored in matching and told in the answer. Ordered by the ids of the entities
    on the way, then by relation.
    """
    inner = [f"n{i}" for i in range(1, length)]
    nodes = ["a", *inner, "b"]
    pattern = f"(a:{ENTITY_LABEL} {{entity_id: $start_id}})"
    for i, node in enumerate([*inner, f"b:{ENTITY_LABEL} {{entity_id: $end_id}}"]):
        pattern += f"-[r{i}]-({node})"
    distinct = [
        f"{x}.entity_id <> {y}.entity_id" for i, x in enumerate(nodes) for y in nodes[i + 1 :]
    ]
    fields = [f"n{i}.entity_id AS id{i}" for i in range(1, length)]
    fields += [f"type(r{i}) AS relation{i}" for i in range(length)]
    fields += [f"startNode(r{i}).entity_id AS head{i}" for i in range(length)]
    order = [f"id{i}" for i in range(1, length)]
    order += [f"{name}{i}" for i in range(length) for name in ("relation", "head")]
    query = (
        f"MATCH {pattern} WHERE {' AND '.join(distinct)} RETURN {', '.join(fields)} "
        f"ORDER BY {', '.join(order)} LIMIT $limit"
    )
    return Statement(query, {"start_id": start_id, "end_id": end_id, "limit": limit})


def _unique(label: str, key: str) -> Statement:
    query = f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE"
    return Statement(query, {})
