"""GraphStore in a database of a Neo4j server, 5.26 or newer.

Reads are those of CypherStore, but for whole graphs; how a write goes is neo4j_writing's part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from graph_etl.errors import DataError, StoreError
from graph_etl.store import neo4j_queries as queries
from graph_etl.store.change_statements import Counters
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.cypher_store import CypherStore
from graph_etl.store.digest import digest_of
from graph_etl.store.graph_rows import GraphRows, checked_rows, rows_of, tables_of
from graph_etl.store.neo4j_connection import Neo4jConnection, connection_from_environment
from graph_etl.store.neo4j_reading import StoreRecord, read_graph, read_record
from graph_etl.store.neo4j_session import Neo4jSession
from graph_etl.store.neo4j_writing import GraphWrite, KnownGraph, clear_graph
from graph_etl.store.records import GraphTables, QueryResult, WriteSummary

MAX_ID_BYTES = 8_000  # an entry of an index has room for a little more
DEFAULT_WRITERS = 2
_READINGS = 5  # of the whole graph, where writers come in between


class Neo4jStore(CypherStore):
    """The graph in one database of a server.

    Its nodes are those labelled ``__Entity__`` and ``__RelationType__``, and two of ``__Store__``
    (a record of what was written, and a lock); other nodes of the database are left alone.

    Who sees what of a write:

    - A change set of up to ONE_TRANSACTION_ROWS rows (FIRST_TRANSACTION_ROWS in an empty database)
      is one transaction, as GraphStore.write says.
    - A larger one is staged: a mark, many transactions of several writers, and one that takes the
      mark away and records the write. While the mark stands, every read through this class is
      refused; a half is never shown. (Clients that query the database without this class see it
      grow.) If the server refuses something, what was done is undone and the mark taken away. If
      the process is killed, the mark stays, and the next write compares what is there with what
      shall be, completes it and takes the mark away; ``clear`` does so too.
    - After a lost connection or a restart of the server a write goes on by comparing anew.
    - One writer at a time: a write holds a lock that the server frees when its client dies.
    - A write of the very frames that were written last reads nothing back, nor does one that is
      told them as ``known``, as long as the server counts as many nodes and relationships as then
      and reports the creations and deletions that were planned. A property that somebody else
      edited in place is not noticed by them; ``compare=True`` does and puts it right.
    """

    def __init__(
        self,
        connection: Neo4jConnection | None = None,
        *,
        read_only: bool = False,
        writers: int = DEFAULT_WRITERS,
        retry_s: float = 60.0,
        lock_wait_s: float = 10.0,
    ) -> None:
        """Connect to a server.

        Args:
            connection: Where; default ``connection_from_environment()``.
            read_only: Refuse ``write`` and ``clear``.
            writers: How many transactions of a staged write run at a time.
            retry_s: Seconds for which transient errors are retried and a lost server awaited.
            lock_wait_s: Seconds to wait for another writer to end.

        Raises:
            StoreError: The server cannot be reached, refuses the user, has no such database, or
                is too old.
            ConfigError: As ``connection_from_environment`` says.
        """
        connection = connection or connection_from_environment()
        self.read_only = read_only
        self._writers = writers
        self._session = Neo4jSession(connection, retry_s=retry_s, lock_wait_s=lock_wait_s)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def write(
        self,
        entities: pl.DataFrame,
        relation_types: pl.DataFrame,
        triples: pl.DataFrame,
        *,
        delete_missing: bool = False,
        entity_types: Collection[str] | None = None,
        known: GraphTables | None = None,
        compare: bool = False,
    ) -> WriteSummary:
        """Write what differs; see GraphStore.write and, for what readers see, the class.

        Raises:
            DataError: Also where an entity_id has more than MAX_ID_BYTES bytes.
        """
        self._check_writable()
        digest = digest_of(GraphTables(entities, relation_types, triples), entity_types)
        record = read_record(self._session.read)
        if record.holds(digest) and not compare:
            return WriteSummary(
                unchanged=entities.height + triples.height - record.duplicates,
                duplicates=record.duplicates,
            )
        new = rows_of(entities, relation_types, triples, entity_types)
        _check_id_sizes(entities)
        if record == StoreRecord():
            self._define(queries.make_record())
        return GraphWrite(
            self._session,
            new,
            digest,
            known=None if compare else _believed(known, entity_types, record),
            delete_missing=delete_missing,
            writers=self._writers,
        ).run()

    def clear(self) -> None:
        """Delete the graph's nodes with all that touches them, in several transactions."""
        self._check_writable()
        if read_record(self._session.read) != StoreRecord() or self.counts().num_entities:
            self._define(queries.make_record())
            clear_graph(self._session)

    def export(self) -> GraphTables:
        """Return the whole graph as one write left it; see GraphStore.export.

        The server applies a commit step by step, and shows what it has applied. A writer holds
        the lock until that is over: with no writer after the record is read and none before it is
        read again, and both the same, no commit was under way between. Beside a writer that does
        not end within lock_wait_s (it compares, or waits), two readings have to agree.

        Raises:
            StoreError: A load has not ended, or writers left no moment to read in.
        """
        for _ in range(_READINGS):
            before = read_record(self._session.read)
            if before.loading:
                break
            lingers = self._session.wait_for_writer() is not None
            rows = self._rows()
            alone = _equal(rows, self._rows()) if lingers else self._session.writer() is None
            if alone and read_record(self._session.read) == before:
                return tables_of(rows)
        raise self._session.unfinished()

    def _rows(self) -> GraphRows:
        return read_graph(self._session.read)[0]

    def _read(
        self, statement: Statement, *, timeout_s: float | None = None, max_rows: int | None = None
    ) -> QueryResult:
        return self._session.query(statement, timeout_s=timeout_s, max_rows=max_rows)

    def _define(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            self._session.run([statement])

    def _change(self, statements: Iterable[Statement], expected: Counters) -> None:
        self._session.run(list(statements), expected)

    def _check_writable(self) -> None:
        if self.read_only:
            raise StoreError(
                f"Expected a store open for writing, but that of {self._session.where} was opened "
                "with read_only=True"
            )


def _believed(
    known: GraphTables | None, entity_types: Collection[str] | None, record: StoreRecord
) -> KnownGraph | None:
    """Return ``known`` where the record says that the store holds it."""
    if known is None or not record.holds(digest := digest_of(known, entity_types)):
        return None
    return KnownGraph(digest, checked_rows(known.entities, known.relation_types, known.triples))


def _equal(one: GraphRows, other: GraphRows) -> bool:
    return (
        one.entities.equals(other.entities)
        and one.relation_types.equals(other.relation_types)
        and one.triples.equals(other.triples)
    )


def _check_id_sizes(entities: pl.DataFrame) -> None:
    size = pl.col("entity_id").str.len_bytes()
    long = entities.with_row_index("row").filter(size > MAX_ID_BYTES)
    if long.height:
        row = long.row(0, named=True)
        raise DataError(
            f"Expected an entity_id of at most {MAX_ID_BYTES} bytes, which Neo4j can index, got "
            f"{len(row['entity_id'].encode())} in row {row['row']} of entities: "
            f"{row['entity_id'][:60]!r} ({long.height} such rows); give it a shorter id"
        )
