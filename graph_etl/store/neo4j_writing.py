"""One write into Neo4j: under the store's lock, in one transaction or staged, through faults.

What is promised to whom stands at Neo4jStore.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import polars as pl

from graph_etl.errors import StoreError
from graph_etl.store import neo4j_queries
from graph_etl.store.change_statements import (
    BATCH_ROWS,
    Counters,
    constraints_of,
    expected_of,
    statements_of,
    summary_of,
)
from graph_etl.store.changes import ChangeSet, changes_between
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.graph_rows import GraphRows, no_rows
from graph_etl.store.neo4j_reading import (
    NODE_IDS,
    StoreRecord,
    read_graph,
    read_node_ids,
    read_record,
)
from graph_etl.store.neo4j_session import (
    ConnectionLostError,
    Neo4jSession,
    StoreLock,
    UnexpectedCountersError,
)
from graph_etl.store.neo4j_staged import StagedChanges
from graph_etl.store.records import WriteSummary

ONE_TRANSACTION_ROWS = 50_000
FIRST_TRANSACTION_ROWS = 10_000  # an empty store has nothing that readers could miss meanwhile
MAX_ATTEMPTS = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownGraph:
    """What the store holds if its record has this digest."""

    digest: str
    rows: GraphRows


class GraphWrite:
    """What the graph shall be, and how far the way there came.

    Args:
        session: The store's connection.
        new: Rows to be there.
        digest: Digest of the frames they came from.
        known: What the store is believed to hold; None: it is read back.
        delete_missing: Whether other rows go.
        writers: Writers at a time where the change set is staged.
    """

    def __init__(
        self,
        session: Neo4jSession,
        new: GraphRows,
        digest: str,
        *,
        known: KnownGraph | None,
        delete_missing: bool,
        writers: int,
    ) -> None:
        self._session = session
        self._new = new
        self._digest = digest
        self._known = known
        self._delete_missing = delete_missing
        self._staged = StagedChanges(session.run, writers)
        self._faults = 0
        self._unfinished = False  # a load was interrupted, and a commit of it may still end
        self._summary: WriteSummary | None = None
        self._before: GraphRows | None = None  # to go back to

    def run(self) -> WriteSummary:
        """Write, and after a lost connection compare anew and write what is missing.

        So it does where the counters of the server are not as planned, and either the store was
        believed to hold something, or a load was interrupted: a commit that a killed writer sent
        may end after the store was read.

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
            except UnexpectedCountersError as error:
                if self._known is None:
                    if not self._may_try_again():
                        raise
                    self._faults += 1
                _log.warning("the store is not what it was read to be; comparing: %s", error)
            self._known = None

    def _may_try_again(self) -> bool:
        return self._unfinished and self._faults + 1 < MAX_ATTEMPTS

    def _once(self, lock: StoreLock) -> WriteSummary:
        record = read_record(self._session.read)
        self._unfinished = record.loading
        if record.loading and not (self._summary or self._delete_missing):
            raise StoreError(
                f"Expected a finished graph at {self._session.where} to add to, but a load was "
                "interrupted; write the whole graph with delete_missing=True, or clear the store"
            )
        # Only after a clean start is it sure that no transaction of before still ends.
        empty = not record.loading and not self._faults and self._is_empty()
        changes, node_ids = self._changes(record, empty=empty)
        if self._summary is None or not (record.loading or self._faults):
            self._summary = summary_of(changes, self._new.duplicates)
            self._before = None if record.loading else changes.old
        digest = self._digest if _is_all_there(changes) else None
        finish = neo4j_queries.finish_write(digest, self._new.duplicates)
        limit = FIRST_TRANSACTION_ROWS if empty else ONE_TRANSACTION_ROWS
        if changes.size > limit:
            self._load(changes, node_ids, finish, lock, fresh=empty)
        elif changes.size or record.loading or record.digest != digest:
            if empty:
                self._define(self._new.entities)
            self._session.run([*statements_of(changes), finish], expected_of(changes))
        return self._summary

    def _is_empty(self) -> bool:
        return not self._session.read(neo4j_queries.has_other_nodes()).rows[0]["others"]

    def _changes(self, record: StoreRecord, *, empty: bool) -> tuple[ChangeSet, pl.DataFrame]:
        """Return what to do, and the node ids that doing it needs, columns NODE_IDS."""
        nothing = pl.DataFrame(schema=NODE_IDS)
        if empty:
            return self._compared(no_rows()), nothing
        if self._known is None or not record.holds(self._known.digest):
            self._known = None  # other counts than planned are an error then
            self._define(self._new.entities)
            old, node_ids = read_graph(self._session.read)
            return self._compared(old), node_ids
        changes = self._compared(self._known.rows)
        new = changes.entities.new
        if new.join(changes.old.entities, on="entity_type", how="anti").height:
            self._define(new)
        if changes.size <= ONE_TRANSACTION_ROWS:
            return changes, nothing
        touched = pl.concat([changes.triples.new, changes.triples.changed])
        places = pl.concat([touched["head_idx"], touched["tail_idx"]]).unique()
        ids = changes.new.entities["entity_id"].gather(places)
        return changes, read_node_ids(self._session.read, ids)

    def _compared(self, old: GraphRows) -> ChangeSet:
        return changes_between(old, self._new, delete_missing=self._delete_missing)

    def _define(self, entities: pl.DataFrame) -> None:
        for statement in constraints_of(entities):
            self._session.run([statement])

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
        constrain = partial(self._define, self._new.entities) if fresh else None
        try:
            self._staged.apply(changes, node_ids, constrain=constrain)
            lock.check()
            self._run(finish)
        except ConnectionLostError:
            raise
        except StoreError as error:
            again = self._known is not None or self._may_try_again()
            if again and isinstance(error, UnexpectedCountersError):
                raise  # to compare, and to complete what was begun
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
            self._define(self._new.entities)
            current, node_ids = read_graph(self._session.read)
            back = changes_between(current, self._before, delete_missing=True)
            self._staged.apply(back, node_ids)
            self._run(neo4j_queries.end_load())
        except StoreError as second:
            raise StoreError(f"{marked} (it could not be put back: {second})") from error

    def _run(self, statement: Statement) -> None:
        self._session.run([statement], Counters())


def _is_all_there(changes: ChangeSet) -> bool:
    """Whether after the changes the graph holds nothing but the new rows."""
    old, new = changes.old, changes.new
    tables = (
        (old.entities, changes.entities, new.entities),
        (old.relation_types, changes.relation_types, new.relation_types),
        (old.triples, changes.triples, new.triples),
    )
    return all(
        before.height + change.new.height - change.gone.height == after.height
        for before, change, after in tables
    )


def clear_graph(session: Neo4jSession) -> None:
    """Delete the nodes of the graph, batch by batch, under the mark of an unfinished load."""
    with session.exclusive():
        session.run([neo4j_queries.start_load()])
        while session.run([neo4j_queries.delete_some_nodes(BATCH_ROWS)])[0]["deleted"]:
            pass
        session.run([neo4j_queries.finish_write(None, 0)])
