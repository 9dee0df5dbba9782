"""Numbers and names as people read them."""

from __future__ import annotations

import math

from kgrec.evaluation.statistics import Interval

PERCENT = "\u00a0%"

SPLITS = {
    "per_user_time": "each user's most recent events are hidden",
    "global_time": "everything after one moment in time is hidden",
    "new_users": "users the model never saw; the first part of their history comes with the "
    "request, the rest is hidden",
    "cold_items": "items without a single interaction in training are to be found",
    "as_published": "the published test file that came with the data",
    "redrawn": "events of each user drawn at random, as many as in the published test file",
}
WITHOUT_TIME = {
    "per_user_time": "the data has no times, so that a part of each user's events, drawn at "
    "random, is hidden",
    "new_users": "users the model never saw; a part of their history, drawn at random since the "
    "data has no times, comes with the request, the rest is hidden",
}
METRICS = {
    "recall": "share of a user's hidden likes among the first {k}",
    "ndcg": "hits among the first {k}, the higher in the list the more they count",
    "mrr": "one over the place of the first hit, among the first {k}",
    "hit_rate": "share of users with a hit among the first {k}",
    "hitrate": "share of users with a hit among the first {k}",
    "precision": "share of hits among the first {k}",
    "map": "precision averaged over the places of the hits, among the first {k}",
}


def count(number: float) -> str:
    """Return a whole number with thousands set apart, "12,345"."""
    return f"{number:,.0f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 user", "2,000 users"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def decimals(value: float) -> str:
    """Return a metric with four places, a dash where it is not a number."""
    return "–" if math.isnan(value) else f"{value:.4f}"


def percent(share: float, places: int = 1) -> str:
    """Return a share as "12.3 %", on one line."""
    return "–" if math.isnan(share) else f"{100 * share:.{places}f}{PERCENT}"


def signed_percent(share: float) -> str:
    """Return a change as "+12.3 %", with a real minus sign."""
    return "–" if math.isnan(share) else minus(f"{100 * share:+.1f}{PERCENT}")


def minus(number: str) -> str:
    """Return a number's text with a minus sign in place of the hyphen."""
    return number.replace("-", "−")


def moment(iso: str) -> str:
    """Return an ISO time as "2026-01-31 12:00:00 UTC"; other texts as they are."""
    return iso.replace("T", " ").replace("+00:00", " UTC")


def p_value(p: float) -> str:
    """Return "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def duration(seconds: float) -> str:
    """Return seconds as "0.3 s", "12 s", "4 min 10 s", "2 h 5 min"."""
    if math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def interval(one: Interval, places: int = 4) -> str:
    """Return "0.1586 [0.1466, 0.1712]"."""
    return minus(f"{one.value:.{places}f} [{one.low:.{places}f}, {one.high:.{places}f}]")


def metric_name(name: str) -> str:
    """Return "NDCG@20" for "ndcg@20", "Popularity lift@10" for "popularity_lift@10"."""
    base, at, k = name.partition("@")
    short = {"ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "hitrate": "Hit rate"}
    words = short.get(base, base.replace("_", " ").capitalize())
    return f"{words}{at}{k}"


def metric_meaning(name: str) -> str:
    """Return what a metric measures, "" where that is not known."""
    base, _, k = name.partition("@")
    return METRICS.get(base, "").format(k=k)


def shortened(words: str, limit: int) -> str:
    """Return the first ``limit`` characters, on one line, with an ellipsis where it is longer."""
    line = " ".join(words.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
