"""One write into Neo4j: under the store's lock, in one transaction or staged, through faults.

What is promised to whom stands at Neo4jStore.
"""

from __future__ import annotations

import logging

import polars as pl

from graph_etl.errors import StoreError
from graph_etl.store import neo4j_queries
from graph_etl.store.change_statements import (
    BATCH_ROWS,
    Counters,
    expected_of,
    statements_of,
    summary_of,
)
from graph_etl.store.changes import ChangeSet, GraphRows, TableChange, changes_between
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.neo4j_reading import read_graph, read_record
from graph_etl.store.neo4j_session import ConnectionLostError, Neo4jSession, StoreLock
from graph_etl.store.neo4j_staged import StagedChanges
from graph_etl.store.records import WriteSummary

ONE_TRANSACTION_ROWS = 50_000
MAX_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class GraphWrite:
    """What the graph shall be, and how far the way there came.

    Args:
        session: The store's connection.
        new: Rows to be there.
        digest: Digest of the frames they came from.
        delete_missing: Whether other rows go.
        writers: Writers at a time where the change set is staged.
    """

    def __init__(
        self,
        session: Neo4jSession,
        new: GraphRows,
        digest: str,
        *,
        delete_missing: bool,
        writers: int,
    ) -> None:
        self._session = session
        self._new = new
        self._digest = digest
        self._delete_missing = delete_missing
        self._staged = StagedChanges(session.run, writers)
        self._faults = 0
        self._summary: WriteSummary | None = None
        self._before: GraphRows | None = None  # to go back to

    def run(self) -> WriteSummary:
        """Write, and after a lost connection compare anew and write what is missing.

        Raises:
            StoreError: As Neo4jStore.write says.
        """
        while True:
            try:
                with self._session.exclusive() as lock:
                    return self._once(lock)
            except ConnectionLostError as error:
                self._faults += 1
                if self._faults == MAX_ATTEMPTS:
                    raise
                _log.warning("the connection was lost in a write, which goes on: %s", error)
                self._session.wait_for_server()

    def _once(self, lock: StoreLock) -> WriteSummary:
        record = read_record(self._session.read)
        if record.loading and not (self._summary or self._delete_missing):
            raise StoreError(
                f"Expected a finished graph at {self._session.where} to add to, but a load was "
                "interrupted; write the whole graph with delete_missing=True, or clear the store"
            )
        old, node_ids = read_graph(self._session.read)
        changes = changes_between(old, self._new, delete_missing=self._delete_missing)
        if self._summary is None:
            self._summary = summary_of(changes, self._new.duplicates)
            self._before = None if record.loading else old
        digest = self._digest if _is_all_there(old, changes, self._new) else None
        finish = neo4j_queries.finish_write(digest, self._new.duplicates)
        size = sum(change.size for change in _tables(changes))
        if size > ONE_TRANSACTION_ROWS:
            self._load(changes, node_ids, finish, lock, fresh=old.triples.is_empty())
        elif size or record.loading or record.digest != digest:
            self._session.run([*statements_of(changes), finish], expected_of(changes))
        return self._summary

    def _load(
        self,
        changes: ChangeSet,
        node_ids: pl.DataFrame,
        finish: Statement,
        lock: StoreLock,
        *,
        fresh: bool,
    ) -> None:
        self._run(neo4j_queries.start_load())
        try:
            # Only after a clean start is it sure that no transaction of before still ends.
            clean = fresh and self._before is not None and not self._faults
            self._staged.apply(changes, node_ids, fresh=clean)
            lock.check()
            self._run(finish)
        except ConnectionLostError:
            raise
        except StoreError as error:
            self._undo(error)
            raise

    def _undo(self, error: StoreError) -> None:
        marked = (
            f"{error}; the graph is marked as unfinished and answers nothing until a build of it "
            "succeeds or it is cleared"
        )
        if self._before is None:
            raise StoreError(marked) from error
        try:
            current, node_ids = read_graph(self._session.read)
            back = changes_between(current, self._before, delete_missing=True)
            self._staged.apply(back, node_ids, fresh=False)
            self._run(neo4j_queries.end_load())
        except StoreError as second:
            raise StoreError(f"{marked} (it could not be put back: {second})") from error

    def _run(self, statement: Statement) -> None:
        self._session.run([statement], Counters())


def _tables(changes: ChangeSet) -> tuple[TableChange, ...]:
    return (changes.entities, changes.relation_types, changes.triples)


def _is_all_there(old: GraphRows, changes: ChangeSet, new: GraphRows) -> bool:
    """Whether after the changes the graph holds nothing but the new rows."""
    pairs = (
        (old.entities, changes.entities, new.entities),
        (old.relation_types, changes.relation_types, new.relation_types),
        (old.triples, changes.triples, new.triples),
    )
    return all(
        before.height + change.new.height - change.gone.height == after.height
        for before, change, after in pairs
    )


def clear_graph(session: Neo4jSession) -> None:
    """Delete the nodes of the graph, batch by batch, under the mark of an unfinished load."""
    with session.exclusive():
        session.run([neo4j_queries.start_load()])
        while session.run([neo4j_queries.delete_some_nodes(BATCH_ROWS)])[0]["deleted"]:
            pass
        session.run([neo4j_queries.finish_write(None, 0)])
