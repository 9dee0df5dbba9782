"""Compiled loops that write feature columns; what each feature means is in features.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.models.compiled import compiled, compiled_fast

DAY_S = 86_400


@compiled
def write_standing(z: Any, rank: Any, out: Any) -> None:
    """Write z and 1 / sqrt(rank) of each source (n, S), and their means, into (n, 2 * S + 2)."""
    count, sources = z.shape
    for pair in range(count):
        total_z, total_rank = np.float32(0.0), 0.0
        for source in range(sources):
            high = 1.0 / np.sqrt(np.float64(rank[pair, source]))
            out[pair, 2 * source] = z[pair, source]
            out[pair, 2 * source + 1] = high
            total_z += z[pair, source]
            total_rank += high
        out[pair, 2 * sources] = total_z / np.float32(sources)
        out[pair, 2 * sources + 1] = total_rank / sources


@compiled
def write_times(
    rows: Any, items: Any, now: Any, times_indptr: Any, times: Any, days: Any, out: Any
) -> None:
    """Write events before the request, age, and for each window recent events and trend.

    Args:
        rows: Shape (n,), the user of each pair.
        items: Shape (n,).
        now: Shape (B,), request times.
        times_indptr: Shape (num_items + 1,), events of each item.
        times: Their times, ascending within an item.
        days: Windows.
        out: Shape (n, 2 + 2 * len(days)).
    """
    for pair in range(len(items)):
        own = times[times_indptr[items[pair]] : times_indptr[items[pair] + 1]]
        request = now[rows[pair]]
        before = np.searchsorted(own, request, side="right")
        age = (request - own[0]) / DAY_S if before > 0 else -1.0
        out[pair, 0] = np.log1p(before)
        out[pair, 1] = np.log1p(max(age, 0.0)) - (1.0 if before == 0 else 0.0)
        for window in range(len(days)):
            since = request - np.int64(days[window] * DAY_S)
            recent = before - np.searchsorted(own, since, side="right")
            expected = before * min(days[window] / max(age, 1.0), 1.0)
            out[pair, 2 + 2 * window] = np.log1p(recent)
            out[pair, 3 + 2 * window] = np.log((recent + 2.0) / (expected + 2.0))


@compiled
def write_numeric(
    user_indptr: Any,
    event_items: Any,
    weights: Any,
    pair_indptr: Any,
    items: Any,
    numeric: Any,
    out: Any,
) -> None:
    """Write each number, and its gap to the user's mean by each weighting, signed and absolute.

    Args:
        user_indptr: Shape (B + 1,), events of each user.
        event_items: Shape (num_events,).
        weights: Shape (num_events, 2), float64.
        pair_indptr: Shape (B + 1,), candidates of each user.
        items: Shape (n,).
        numeric: Shape (num_items, columns), NaN where unknown.
        out: Shape (n, 5 * columns).
    """
    columns = numeric.shape[1]
    total, mean = np.empty((columns, 2)), np.empty((columns, 2))
    for user in range(len(user_indptr) - 1):
        total[:], mean[:] = 0.0, 0.0
        for event in range(user_indptr[user], user_indptr[user + 1]):
            for column in range(columns):
                seen = np.float64(numeric[event_items[event], column])
                if np.isfinite(seen):
                    for kind in range(2):
                        total[column, kind] += weights[event, kind]
                        mean[column, kind] += seen * weights[event, kind]
        mean /= np.maximum(total, 1e-9)
        for pair in range(pair_indptr[user], pair_indptr[user + 1]):
            for column in range(columns):
                own = np.float64(numeric[items[pair], column])
                known = np.isfinite(own)
                out[pair, 5 * column] = own if known else 0.0
                for kind in range(2):
                    usable = known and total[column, kind] > 0.0
                    gap = own - mean[column, kind] if usable else 0.0
                    out[pair, 5 * column + 1 + 2 * kind] = gap
                    out[pair, 5 * column + 2 + 2 * kind] = abs(gap)


@compiled
def write_similarities(similar: Any, liked: Any, recency: Any, out: Any) -> None:
    """Summarise similarities (n, events) of one user's candidates to the history in (n, 6).

    Mean, largest and mean of the three largest over liked events; mean weighted by recency; that
    of the last event; mean over the others. 0 where there is no such event.
    """
    count, events = similar.shape
    likes, weight = 0, 0.0
    for event in range(events):
        if liked[event]:
            likes += 1
            weight += recency[event]
    for pair in range(count):
        total, recent, other = 0.0, 0.0, 0.0
        first = second = third = np.float32(-np.inf)
        for event in range(events):
            value = similar[pair, event]
            if not liked[event]:
                other += value
                continue
            total += value
            recent += value * recency[event]
            if value > first:
                first, second, third = value, first, second
            elif value > second:
                second, third = value, second
            elif value > third:
                third = value
        if likes > 0:
            best = np.float64(first)
            if likes > 1:
                best += second
            if likes > 2:
                best += third
            out[pair, 0] = total / likes
            out[pair, 1] = first
            out[pair, 2] = best / min(likes, 3)
            out[pair, 3] = recent / weight
        out[pair, 4] = similar[pair, events - 1]
        if likes < events:
            out[pair, 5] = other / (events - likes)


@compiled_fast
def _similarities(text: Any, items: Any, seen: Any) -> Any:
    out = np.empty((len(items), len(seen)), dtype=np.float32)
    for pair in range(len(items)):
        for event in range(len(seen)):
            one, other, total = text[items[pair]], text[seen[event]], np.float32(0.0)
            for at in range(len(one)):
                total += one[at] * other[at]
            out[pair, event] = total
    return out


@compiled
def write_texts(
    text: Any,
    start: Any,
    stop: Any,
    event_items: Any,
    liked: Any,
    recency: Any,
    pair_indptr: Any,
    items: Any,
    out: Any,
) -> None:
    """Do what ``write_similarities`` does for many users with few candidates each.

    Args:
        text: Shape (num_items, dim).
        start: Shape (B,), the first event of each user whose text counts.
        stop: Shape (B,), the end of each user's events.
        event_items: Shape (num_events,).
        liked: Shape (num_events,).
        recency: Shape (num_events,).
        pair_indptr: Shape (B + 1,), candidates of each user.
        items: Shape (n,).
        out: Shape (n, 6), zeros.
    """
    for user in range(len(start)):
        first, end = pair_indptr[user], pair_indptr[user + 1]
        low, high = start[user], stop[user]
        if low < high and first < end:
            similar = _similarities(text, items[first:end], event_items[low:high])
            write_similarities(similar, liked[low:high], recency[low:high], out[first:end])


@compiled
def write_graph(
    rows: Any,
    items: Any,
    sums: Any,
    taste: Any,
    best: Any,
    scale: Any,
    slot_indptr: Any,
    relations: Any,
    out: Any,
) -> None:
    """Write what is shared by each relation and in all, on a log scale.

    Args:
        rows: Shape (n,), the user of each pair.
        items: Shape (n,).
        sums: Shape (n, R, 3), taste (n, R) and best (n,), as ``entity_profiles`` returns them.
        taste: See above.
        best: See above.
        scale: Shape (B, 3): what the user's sums are multiplied by.
        slot_indptr: Shape (num_items + 1,), slots of each item.
        relations: Relations that have columns of their own.
        out: Shape (n, 2 * relations + 6).
    """
    for pair in range(len(items)):
        own, mean = scale[rows[pair]], 0.0
        for relation in range(relations):
            out[pair, 2 * relation] = np.log1p(sums[pair, relation, 0] * own[0])
            out[pair, 2 * relation + 1] = taste[pair, relation]
        for relation in range(taste.shape[1]):
            mean += taste[pair, relation]
        rest = out[pair, 2 * relations :]
        for kind in range(3):
            rest[kind] = np.log1p(sums[pair, :, kind].sum() * own[kind])
        rest[3] = mean / taste.shape[1]
        rest[4] = np.log1p(best[pair] * own[0])
        rest[5] = np.log1p(slot_indptr[items[pair] + 1] - slot_indptr[items[pair]])


@compiled
def write_groups(rows: Any, items: Any, groups: Any, share: Any, rate: Any, out: Any) -> None:
    """Write share and rate of each pair's item in each group (B, A) of its user."""
    for pair in range(len(items)):
        for place in range(groups.shape[1]):
            group = groups[rows[pair], place]
            out[pair, 2 * place] = share[group, items[pair]]
            out[pair, 2 * place + 1] = rate[group, items[pair]]
