"""What engines answered, on disk: never paid for twice, and a bad answer never served again.

One SQLite file. An answer's key is the digest of the engine's fingerprint and of what it was asked;
with the attempt it is unique. The raw answer and its verdict are columns of their own. Documents
whose answers were no good to the last attempt lie in dead_letters until they are retried.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from graph_etl.errors import ExtractionError
from graph_etl.extraction.extractor import Extractor
from graph_etl.extraction.records import (
    Answer,
    Document,
    ExtractedTriple,
    Extraction,
    Mention,
    Rejection,
)

SCHEMA_VERSION = 1
_KEYS_AT_ONCE = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, attempt INTEGER NOT NULL,
    raw TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('valid', 'invalid')),
    reason TEXT NOT NULL, extraction TEXT,
    doc_id TEXT NOT NULL, content_hash TEXT NOT NULL,
    engine TEXT NOT NULL, model TEXT NOT NULL, prompt_version TEXT NOT NULL,
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    key TEXT PRIMARY KEY, doc_id TEXT NOT NULL, engine TEXT NOT NULL, model TEXT NOT NULL,
    kind TEXT NOT NULL, told TEXT NOT NULL, attempts INTEGER NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, accounting TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document without a good answer.

    Attributes:
        key: Of the question, as ``key_of``.
        doc_id, engine, model: Which.
        kind, told: Of the last failure.
        attempts: How often it was asked.
        at: UTC time, ISO 8601.
    """

    key: str
    doc_id: str
    engine: str
    model: str
    kind: str
    told: str
    attempts: int
    at: str


def key_of(extractor: Extractor, document: Document) -> str:
    """Return the digest of a question: the engine's fingerprint, the text and its subject.

    An engine that keeps answers reads what a subject is called; one that keeps none may also know
    which one it is.
    """
    asked = [
        extractor.fingerprint,
        document.content_hash,
        document.subject_type,
        document.subject_name,
        "" if extractor.keeps_answers else document.subject_id,
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class Ledger:
    """The file of answers. Use it as a context manager; one run writes at a time.

    An answer is kept when ``record`` returns: a killed process loses none.

    Args:
        path: The SQLite file; made where it is not there.

    Raises:
        ExtractionError: The file is no ledger, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise ExtractionError(
                    f"Expected a ledger of version {SCHEMA_VERSION} or older at {path}, got "
                    f"{version}; update kgrec, which is older than what wrote it"
                )
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise ExtractionError(
                f"Expected a ledger of answers at {path}, got: {error}; move the file away and "
                "what it held is asked again"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def known(self, keys: Sequence[str]) -> dict[str, Extraction]:
        """Return the newest good answer of each question that has one."""
        found: dict[str, Extraction] = {}
        for part in _parts(keys):
            rows = self._db.execute(
                "SELECT key, extraction FROM answers WHERE verdict = 'valid' "
                f"AND key IN ({_marks(part)}) ORDER BY attempt",
                part,
            )
            found.update((key, extraction_from(text)) for key, text in rows)
        return found

    def attempts(self, keys: Sequence[str]) -> dict[str, int]:
        """Return how often each question got an answer so far, those that did."""
        return dict(self._select("SELECT key, max(attempt) FROM answers", keys, " GROUP BY key"))

    def dead(self, keys: Sequence[str]) -> set[str]:
        """Return the questions that are not to be asked again."""
        return {key for (key,) in self._select("SELECT key FROM dead_letters", keys)}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep what is written within as one: all of it or, where that fails, nothing."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def record(
        self, extractor: Extractor, document: Document, attempt: int, answer: Answer
    ) -> None:
        """Keep an answer, good or bad; an answer that never came is not kept."""
        if answer.failure is not None and not answer.failure.answered:
            return
        good = answer.extraction is not None
        reason = "" if answer.failure is None else f"{answer.failure.kind}: {answer.failure.told}"
        self._db.execute(
            f"INSERT OR REPLACE INTO answers VALUES ({_marks(range(15))})",
            (
                key_of(extractor, document),
                attempt,
                _storable(answer.raw),
                "valid" if good else "invalid",
                _storable(reason),
                None if answer.extraction is None else extraction_text(answer.extraction),
                _storable(document.doc_id),
                document.content_hash,
                extractor.engine,
                extractor.model,
                extractor.prompt_version,
                answer.usage.requests,
                answer.usage.prompt_tokens,
                answer.usage.completion_tokens,
                _now(),
            ),
        )

    def bury(self, extractor: Extractor, document: Document, attempts: int, answer: Answer) -> None:
        """Put a document among the dead letters."""
        if answer.failure is None:
            raise ValueError(f"Expected a failed answer to bury, got a good one ({answer.doc_id})")
        self._db.execute(
            f"INSERT OR REPLACE INTO dead_letters VALUES ({_marks(range(8))})",
            (
                key_of(extractor, document),
                _storable(document.doc_id),
                extractor.engine,
                extractor.model,
                answer.failure.kind,
                _storable(answer.failure.told),
                attempts,
                _now(),
            ),
        )

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Return all dead letters, by document and engine."""
        rows = self._db.execute("SELECT * FROM dead_letters ORDER BY doc_id, engine, key")
        return tuple(DeadLetter(*row) for row in rows)

    def retry(self, doc_ids: Sequence[str] | None = None) -> int:
        """Let dead letters be asked again in the next run; return how many.

        Args:
            doc_ids: Those of these documents; None: all.
        """
        if doc_ids is None:
            return self._db.execute("DELETE FROM dead_letters").rowcount
        return sum(
            self._db.execute(
                f"DELETE FROM dead_letters WHERE doc_id IN ({_marks(part)})", part
            ).rowcount
            for part in _parts(doc_ids)
        )

    def finish_run(self, accounting: Iterable[dict[str, Any]]) -> None:
        """Keep the accounting of a run."""
        self._db.execute(
            "INSERT INTO runs (at, accounting) VALUES (?, ?)",
            (_now(), json.dumps(list(accounting))),
        )

    def runs(self) -> tuple[tuple[str, list[dict[str, Any]]], ...]:
        """Return when each run ended and its accounting, oldest first."""
        rows = self._db.execute("SELECT at, accounting FROM runs ORDER BY number")
        return tuple((at, json.loads(text)) for at, text in rows)

    def _select(self, what: str, keys: Sequence[str], tail: str = "") -> Iterator[tuple[Any, ...]]:
        for part in _parts(keys):
            with closing(
                self._db.execute(f"{what} WHERE key IN ({_marks(part)}){tail}", part)
            ) as rows:
                yield from rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def extraction_text(extraction: Extraction) -> str:
    """Return an extraction as JSON."""
    return json.dumps(asdict(extraction), separators=(",", ":"))


def extraction_from(text: str) -> Extraction:
    """Return the extraction that ``extraction_text`` wrote."""
    value = json.loads(text)
    return Extraction(
        doc_id=value["doc_id"],
        mentions=tuple(Mention(**one) for one in value["mentions"]),
        triples=tuple(
            ExtractedTriple(**{**one, "evidence": tuple(one["evidence"])})
            for one in value["triples"]
        ),
        rejected=tuple(Rejection(**one) for one in value["rejected"]),
    )


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        yield keys[start : start + _KEYS_AT_ONCE]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _storable(text: str) -> str:
    """Return a text that UTF-8 can hold; lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
