"""GraphStore in process: a kglite graph in memory, kept in one file.

The only module that imports kglite. Reads and writes are those of CypherStore.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from graph_etl.errors import MissingDependencyError, StoreError
from graph_etl.store.change_statements import Counters
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.cypher_store import CypherStore
from graph_etl.store.records import QueryResult

try:
    import kglite
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "Expected the library kglite for the embedded graph store, found none; "
        "install it with: pip install 'kglite>=0.21'"
    ) from error

_ADDED_KEYS = ("id", "title", "type")  # what kglite adds to the properties of every node


class KgliteStore(CypherStore):
    """A graph file; each ``write`` replaces it atomically, readers see the old or the new one.

    One process may have it open for writing, any number for reading; readers keep the graph as it
    was when they opened it. Not for use by several threads at once.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """Open a graph file.

        Args:
            path: The file. It is made by the first write; its folder must exist.
            read_only: Take no lock and refuse ``write`` and ``clear``; the file must exist.

        Raises:
            StoreError: The file is absent (read_only), damaged, or open for writing elsewhere.
        """
        self.path = Path(path)
        self.read_only = read_only
        self._graph: Any = self._opened()

    def close(self) -> None:
        """Release the graph and the lock."""
        self._graph = None

    def _opened(self) -> Any:
        if self.read_only and not self.path.is_file():
            raise StoreError(
                f"Expected a graph file at {self.path}, found none; make one with "
                "'graph-etl build ... --store kglite'"
            )
        if not self.path.parent.is_dir():
            raise StoreError(f"Expected the folder {self.path.parent}, found none; make it first")
        try:
            if self.read_only:
                return kglite.load(str(self.path), verify="eager")
            return kglite.open(str(self.path), durable="off")
        except kglite.WriterLeaseHeldError as error:
            raise StoreError(
                f"Expected to be the only writer of {self.path}, but it is open for writing "
                "elsewhere; wait for that build to end or close that store"
            ) from error
        except kglite.KgError as error:
            raise StoreError(
                f"Expected a kglite graph in {self.path}, got: {_first_line(error)}; delete the "
                "file and build again with 'graph-etl build', which loses nothing: the snapshot "
                "holds the same graph"
            ) from error

    def _read(
        self, statement: Statement, *, timeout_s: float | None = None, max_rows: int | None = None
    ) -> QueryResult:
        timeout_ms = 0 if timeout_s is None else max(1, math.ceil(timeout_s * 1000))
        with _explained(), self._open_graph().begin_read() as transaction:
            if max_rows is not None:
                _check_plan(transaction, statement)
            result = transaction.cypher(
                statement.query,
                params=statement.parameters,
                timeout_ms=timeout_ms,
                row_limit=None if max_rows is None else max_rows,
            )
        if isinstance(result, str):
            raise StoreError("Expected a query that returns rows, got one that returns text")
        rows = tuple(result.to_list())
        if max_rows is None:
            return QueryResult(tuple(result.columns), rows, truncated=False)
        diagnostics = result.diagnostics or {}
        total = diagnostics.get("total_rows")
        return QueryResult(
            columns=tuple(result.columns),
            rows=tuple({name: _plain(value) for name, value in row.items()} for row in rows),
            truncated=total is not None and total > len(rows),
            warnings=tuple(w for w in result.warnings if "row_limit" not in w),
        )

    def _define(self, statements: Iterable[Statement]) -> None:
        graph = self._open_graph(writable=True)
        with _explained():
            for query, parameters in statements:
                graph.cypher(query, params=parameters)

    def _change(self, statements: Iterable[Statement], expected: Counters) -> None:
        graph = self._open_graph(writable=True)
        with _explained():
            transaction = graph.begin()
            try:
                changed = _total(
                    transaction.cypher(query, params=parameters, timeout_ms=0).stats or {}
                    for query, parameters in statements
                )
                if changed != expected:
                    raise StoreError(
                        f"Expected the store to report {expected}, got {changed} in {self.path}; "
                        "nothing was written; clear the store and build again"
                    )
            except BaseException:
                transaction.rollback()
                raise
            transaction.commit()
            graph.save(layout="compact")  # every section compressed and checksummed

    def _open_graph(self, *, writable: bool = False) -> Any:
        if self._graph is None:
            raise StoreError(f"Expected an open store, but that of {self.path} was closed")
        if writable and self.read_only:
            raise StoreError(
                f"Expected a store open for writing, but {self.path} was opened with read_only=True"
            )
        return self._graph


@contextmanager
def _explained() -> Iterator[None]:
    """Turn kglite's errors into StoreError, and keep its warnings off stderr."""
    policy = kglite.get_query_warning_policy()
    kglite.set_query_warning_policy("silent")
    try:
        yield
    except kglite.CypherTimeoutError as error:
        raise StoreError(
            "Expected the query to end within its time limit, but it did not and was stopped; "
            "ask for less (a label, a property, a LIMIT, a smaller max_length) or raise timeout_s"
        ) from error
    except (kglite.KgError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"The graph store refused a statement: {_first_line(error)}") from error
    finally:
        kglite.set_query_warning_policy(policy)


def _check_plan(transaction: Any, statement: Statement) -> None:
    """Refuse by the engine's own plan what the text guard should have refused already."""
    plan = transaction.cypher(f"EXPLAIN {statement.query}", params=statement.parameters)
    steps = plan.to_list() if hasattr(plan, "to_list") else []
    if any(step.get("operation") == "LoadCsv" for step in steps):
        raise StoreError("Expected a query of the graph, got one that reads a file; refused")


def _total(stats: Iterable[dict[str, int]]) -> Counters:
    total = dict.fromkeys((field.name for field in fields(Counters)), 0)
    for one in stats:
        for name in total:
            total[name] += one.get(name, 0)
    return Counters(**total)


def _plain(value: Any) -> Any:
    """Return nodes, relationships and paths in the form that QueryResult promises."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"id", "labels", "properties"}:
        kept = {k: v for k, v in value["properties"].items() if k not in _ADDED_KEYS}
        return {"labels": value["labels"], "properties": kept}
    if value.keys() == {"id", "start", "end", "type", "properties"}:
        return {"type": value["type"], "properties": value["properties"]}
    return {name: _plain(one) for name, one in value.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
