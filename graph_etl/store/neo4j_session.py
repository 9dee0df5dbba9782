"""Talking to one database of a Neo4j server: reads, transactions, the writers' lock, errors.

With neo4j_values the only module that imports the driver.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any

from graph_etl.errors import MissingDependencyError, StoreError
from graph_etl.store import neo4j_queries as queries
from graph_etl.store.change_statements import Counters
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.neo4j_connection import Neo4jConnection
from graph_etl.store.read_guard import ALLOWED_PROCEDURES
from graph_etl.store.records import QueryResult

try:
    import neo4j
    from neo4j import exceptions
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "Expected the library neo4j for the store on a Neo4j server, found none; "
        "install it with: pip install 'kgrec[neo4j]'"
    ) from error

from graph_etl.store.neo4j_values import plain

OLDEST_VERSION = (5, 26)
_POLL_S = 0.25
_LOST = (exceptions.ServiceUnavailable, exceptions.SessionExpired, exceptions.IncompleteCommit)
# A tie to a server that is shutting down ends with these.
_GOING_DOWN = (
    "DatabaseUnavailable",
    "DatabaseNotFound",
    "TransactionNotFound",
    "Terminated",
    "LockClientStopped",
)

Rows = list[dict[str, Any]]

# Remarks on a query come back in QueryResult.warnings; the driver would log them as well.
logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)


class ConnectionLostError(StoreError):
    """The server went away; whether the last transaction was committed is not known."""


class UnexpectedCountersError(StoreError):
    """The server counted other changes than were planned; the transaction was rolled back."""


class StoreLock:
    """The writers' lock, held by an open transaction."""

    def __init__(self, session: Neo4jSession, transaction: neo4j.Transaction) -> None:
        self._session = session
        self._transaction = transaction

    def check(self) -> None:
        """Raise ConnectionLostError where the lock was lost."""
        try:
            self._transaction.run(*queries.still_alive()).consume()
        except (exceptions.DriverError, exceptions.Neo4jError) as error:
            raise ConnectionLostError(
                f"Expected to hold the lock of {self._session.where} to the end of the write, but "
                f"it was lost: {_first_line(error)}"
            ) from error


class Neo4jSession:
    """A driver bound to one database; usable by several threads at once."""

    def __init__(self, connection: Neo4jConnection, *, retry_s: float, lock_wait_s: float) -> None:
        """Connect.

        Args:
            connection: Where.
            retry_s: Seconds for which transient errors are retried and a lost server awaited.
            lock_wait_s: Seconds to wait for another writer to end.

        Raises:
            StoreError: The server cannot be reached, refuses the user, has no such database, or
                is older than OLDEST_VERSION.
        """
        self.where = f"{connection.uri}/{connection.database}"
        self._database = connection.database
        self._retry_s = retry_s
        self._lock_wait_s = lock_wait_s
        self._driver: neo4j.Driver | None = None
        with self._explained():
            self._driver = neo4j.GraphDatabase.driver(
                connection.uri,
                auth=(connection.user, connection.password),
                max_transaction_retry_time=retry_s,
                connection_timeout=10,
                warn_notification_severity=neo4j.NotificationMinimumSeverity.OFF,
            )
        try:
            self._check_server()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; again does nothing."""
        if self._driver is not None:
            self._driver.close()
        self._driver = None

    def read(self, statement: Statement) -> QueryResult:
        """Run a statement that only reads, whole, in the form that the driver gives."""

        def work(transaction: neo4j.ManagedTransaction) -> QueryResult:
            result = transaction.run(*statement)
            rows = tuple(result.data())
            return QueryResult(tuple(result.keys()), rows, truncated=False)

        with self._explained(), self._session(neo4j.READ_ACCESS) as session:
            return session.execute_read(work)

    def query(
        self, statement: Statement, *, timeout_s: float | None, max_rows: int | None
    ) -> QueryResult:
        """Run a read on a finished graph, in a read transaction that the server stops in time.

        Args:
            statement: What to run.
            timeout_s: Seconds; None: no limit.
            max_rows: Keep so many rows, and check the statement by the server's plan, for it is a
                user's; None: keep all of our own.

        Raises:
            StoreError: A load has not ended, the query is wrong, took too long, or by the plan
                reads files or calls procedures that are not allowed.
        """

        @neo4j.unit_of_work(timeout=timeout_s)
        def work(transaction: neo4j.ManagedTransaction) -> QueryResult:
            if transaction.run(*queries.is_loading()).data():
                raise self.unfinished()
            if max_rows is not None:
                _check_plan(transaction, statement)
            result = transaction.run(*statement)
            columns = tuple(result.keys())
            rows = list(result) if max_rows is None else result.fetch(max_rows + 1)
            remarks = result.consume().gql_status_objects
            return QueryResult(
                columns=columns,
                rows=tuple({name: plain(row[name]) for name in columns} for row in rows[:max_rows]),
                truncated=max_rows is not None and len(rows) > max_rows,
                warnings=tuple(one.status_description for one in remarks if one.is_notification),
            )

        fetch = 1000 if max_rows is None else max_rows + 1
        with self._explained(), self._session(neo4j.READ_ACCESS, fetch) as session:
            return session.execute_read(work)

    def unfinished(self) -> StoreError:
        """Return the error of a read while a load has not ended."""
        return StoreError(
            f"Expected a finished graph at {self.where}, but a load of it is under way or was "
            "interrupted; wait for it, or run the build again, which completes it"
        )

    def run(self, statements: Sequence[Statement], expected: Counters | None = None) -> Rows:
        """Run statements as one transaction, again where the server undid it and that may help.

        Args:
            statements: In order.
            expected: What the server's own counters have to say. None: anything, and no harm where
                the statements are done twice.

        Returns:
            The rows of all of them.

        Raises:
            StoreError: The server refused, or counted otherwise; nothing is changed then.
            ConnectionLostError: The server went away; look whether it was done.
        """
        with self._explained(), self._session(neo4j.WRITE_ACCESS) as session:
            deadline = time.monotonic() + self._retry_s
            while True:
                try:
                    if expected is None:
                        return session.execute_write(lambda work: _run_all(work, statements)[0])
                    return self._run_once(session, statements, expected)
                except exceptions.Neo4jError as error:
                    again = _is_half_defined(error) if expected is None else _is_undone(error)
                    if not again or time.monotonic() > deadline:
                        raise
                    time.sleep(random.uniform(0, _POLL_S))  # apart from those that it met

    def _run_once(
        self, session: neo4j.Session, statements: Sequence[Statement], expected: Counters
    ) -> Rows:
        """Run one transaction that must not be done twice.

        The driver's own retries would do that: a server that goes down may refuse a commit with a
        transient error, and hold it when it is back.
        """
        with session.begin_transaction() as transaction:
            rows, found = _run_all(transaction, statements)
            if found != expected:
                raise UnexpectedCountersError(
                    f"Expected {self.where} to report {expected}, got {found}; nothing was "
                    "written; does something else write there? If not, clear the store and build "
                    "again"
                )
            try:
                transaction.commit()
            except (exceptions.DriverError, exceptions.Neo4jError) as error:
                if isinstance(error, exceptions.ClientError) or _lost_a_lock(error):
                    raise
                raise ConnectionLostError(
                    f"Expected {self.where} to say that it committed, got: {_first_line(error)}"
                ) from error
        return rows

    @contextmanager
    def exclusive(self) -> Iterator[StoreLock]:
        """Hold the writers' lock, which the server frees where this process dies.

        Raises:
            StoreError: Another writer holds it for longer than lock_wait_s.
        """
        if holder := self.wait_for_writer():
            raise StoreError(
                f"Expected to be the only writer of {self.where}, but {holder} has been writing; "
                "wait for that build to end"
            )
        with self._session(neo4j.WRITE_ACCESS) as session:
            with self._explained():
                transaction = session.begin_transaction(metadata={"kgrec_lock": self._database})
                transaction.run(*queries.take_lock()).consume()
            try:
                yield StoreLock(self, transaction)
            finally:
                with suppress(exceptions.DriverError, exceptions.Neo4jError):
                    transaction.close()

    def wait_for_server(self) -> None:
        """Return when the server answers; raises ConnectionLostError after retry_s."""
        deadline = time.monotonic() + self._retry_s
        while True:
            try:
                self.read(queries.still_alive())
                return
            except ConnectionLostError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _check_server(self) -> None:
        with self._explained():
            agent = self._open_driver().get_server_info().agent
        told = re.fullmatch(r"Neo4j/(\d+)\.(\d+).*", agent)
        if told and (int(told[1]), int(told[2])) < OLDEST_VERSION:
            raise StoreError(
                f"Expected Neo4j {'.'.join(map(str, OLDEST_VERSION))} or newer at {self.where}, "
                f"got {agent}; update the server, or start one with 'graph-etl neo4j up'"
            )

        self.read(queries.still_alive())

    def writer(self) -> str | None:
        """Return who holds the writers' lock now, in words; None where nobody does."""
        rows = self.read(queries.lock_holders(self._database)).rows
        return f"the client {rows[0]['client']} for {rows[0]['elapsed']}" if rows else None

    def wait_for_writer(self) -> str | None:
        """Return None as soon as nobody holds the writers' lock, after lock_wait_s who does."""
        deadline = time.monotonic() + self._lock_wait_s
        while (holder := self.writer()) and time.monotonic() <= deadline:
            time.sleep(_POLL_S)
        return holder

    def _session(self, access: str, fetch: int = 1000) -> neo4j.Session:
        return self._open_driver().session(
            database=self._database, default_access_mode=access, fetch_size=fetch
        )

    def _open_driver(self) -> neo4j.Driver:
        if self._driver is None:
            raise StoreError(f"Expected an open store, but that of {self.where} was closed")
        return self._driver

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _LOST as error:
            raise ConnectionLostError(
                f"Expected a Neo4j server at {self.where}, but it cannot be reached: "
                f"{_first_line(error)}; see 'graph-etl neo4j status', NEO4J_URI, the server's log"
            ) from error
        except exceptions.AuthError as error:
            raise StoreError(
                f"Expected the server at {self.where} to accept the user, got: "
                f"{_first_line(error)}; correct NEO4J_USER and NEO4J_PASSWORD"
            ) from error
        except (exceptions.Neo4jError, exceptions.DriverError) as error:
            code = str(getattr(error, "code", None) or "")
            if "TransactionTimedOut" in code:
                raise StoreError(
                    "Expected the query to end within its time limit, but it did not and was "
                    "stopped; ask for less (a label, a property, a LIMIT, a smaller max_length) "
                    "or raise timeout_s"
                ) from error
            if any(word in code for word in _GOING_DOWN):
                raise ConnectionLostError(
                    f"Expected {self.where} to stay available, got: {_first_line(error)}"
                ) from error
            raise StoreError(
                f"The graph store refused a statement: {_first_line(error)}"
            ) from error
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreError(f"The driver of {self.where} refused: {_first_line(error)}") from error


def _run_all(
    transaction: neo4j.Transaction | neo4j.ManagedTransaction, statements: Sequence[Statement]
) -> tuple[Rows, Counters]:
    """Return the rows of all statements, and what the server counted."""
    rows: Rows = []
    changed = dict.fromkeys((field.name for field in fields(Counters)), 0)
    for query, parameters in statements:
        result = transaction.run(query, parameters)
        rows += result.data()
        counters = result.consume().counters
        for name in changed:
            changed[name] += getattr(counters, name)
    return rows, Counters(**changed)


def _is_undone(error: exceptions.Neo4jError) -> bool:
    """Whether the transaction can be run again: not where the server goes down with it."""
    return error.is_retryable() and not any(word in str(error.code) for word in _GOING_DOWN)


def _is_half_defined(error: exceptions.Neo4jError) -> bool:
    """Whether a constraint's index is there before it: a killed writer was defining it."""
    return "IndexWithNameAlreadyExists" in str(error.code)


def _lost_a_lock(error: exceptions.DriverError | exceptions.Neo4jError) -> bool:
    code = str(getattr(error, "code", None) or "")
    return "DeadlockDetected" in code or "LockAcquisitionTimeout" in code


def _check_plan(transaction: neo4j.ManagedTransaction, statement: Statement) -> None:
    """Refuse by the server's own plan what the text guard should have refused already."""
    summary = transaction.run(f"EXPLAIN {statement.query}", statement.parameters).consume()
    steps: list[dict[str, Any]] = [summary.plan] if summary.plan else []
    while steps:
        step = steps.pop()
        steps += step.get("children", [])
        kind = step["operatorType"].partition("@")[0]
        called = step.get("args", {}).get("Details", "").partition("(")[0].strip().lower()
        if kind == "LoadCSV" or (kind == "ProcedureCall" and called not in ALLOWED_PROCEDURES):
            raise StoreError(
                f"Expected a query of the graph, got one that reads a file or calls {called!r}; "
                "refused"
            )
    if summary.query_type not in ("r", None):
        raise StoreError("Expected a query that only reads, but the server says that it writes")


def _first_line(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error)
    return str(text).strip().split("\n", 1)[0][:500]
