"""Users whose rows a build leaves out, counted: those who asked to be forgotten.

Who they are, the caller says; the tables that were given stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from graph_etl.audit import BuildAudit
from graph_etl.extra_interactions import EXTRA, LOGGED

LeaveOut = Callable[[Iterable[str]], set[str]]
"""Returns which of some users are left out."""

REASON = "forgotten user"


def without_users(
    users: pl.DataFrame, rows: pl.DataFrame, leave_out: LeaveOut, audit: BuildAudit
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return users and interactions without those who are left out.

    Args:
        users: With the column user_id, and counted as kept.
        rows: Interactions with the column user_id, LOGGED where some are of a log; not yet
            counted as kept.
        leave_out: Says who.
        audit: Gets the counts.
    """
    known = pl.concat([users["user_id"], rows["user_id"]]).unique()
    gone = sorted(leave_out(known.to_list()))
    if not gone:
        return users, rows
    is_gone = pl.col("user_id").is_in(gone)
    of_users = users.filter(is_gone).height
    audit.table("users").drop(REASON, of_users)
    audit.table("users").rows_kept -= of_users
    of_log = pl.col(LOGGED) if LOGGED in rows.columns else pl.lit(False)
    for name, mine in (("interactions", ~of_log), (EXTRA, of_log)):
        if dropped := rows.filter(is_gone & mine).height:
            audit.table(name).drop(REASON, dropped)
    return users.filter(~is_gone), rows.filter(~is_gone)
