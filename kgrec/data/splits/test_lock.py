"""The lock on test data: what an opening must state, and the block in which it is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kgrec.errors import TestLockError

_guard = threading.Lock()
_forbidden_by: list[str] = []


class OpeningLog(Protocol):
    """Where openings of test data are written down; kgrec.evaluation.ledger implements it."""

    def record_opening(
        self,
        *,
        dataset: str,
        split: str,
        seed: int,
        checksum: str,
        model: str,
        config_hash: str,
        repeat: bool,
    ) -> None:
        """Write down one opening durably, or raise TestLockError and write nothing."""


@contextmanager
def test_forbidden(what: str) -> Iterator[None]:
    """Refuse every opening of test data, in all threads, while the block runs.

    Tuning and selection run inside it.

    Args:
        what: Who may not see test, for the message: "tuning of ease".
    """
    with _guard:
        _forbidden_by.append(what)
    try:
        yield
    finally:
        with _guard:
            _forbidden_by.remove(what)


test_forbidden.__test__ = False  # type: ignore[attr-defined]  # the name starts with test


def check_test_allowed() -> None:
    """Raise TestLockError inside a block of ``test_forbidden``."""
    with _guard:
        if _forbidden_by:
            raise TestLockError(
                f"Expected no test data to be asked for during {_forbidden_by[-1]}, got a call of "
                "open_test; select on validation(), and open test after the block"
            )
