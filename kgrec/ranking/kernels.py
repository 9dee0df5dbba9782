"""Compiled loops over user-item pairs; each feature's meaning is in features.py."""

from __future__ import annotations

import numba
import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray


@numba.njit(cache=True)
def count_before(
    times_indptr: IntArray, times: IntArray, items: IntArray, since: IntArray, until: IntArray
) -> IntArray:
    """Return how many events each item had in since < time <= until, shape (n,), int64."""
    out = np.empty(len(items), dtype=np.int64)
    for pair in range(len(items)):
        own = times[times_indptr[items[pair]] : times_indptr[items[pair] + 1]]
        high = np.searchsorted(own, until[pair], side="right")
        out[pair] = high - np.searchsorted(own, since[pair], side="right")
    return out


@numba.njit(cache=True)
def entity_profiles(
    user_indptr: IntArray,
    event_items: IntArray,
    event_values: FloatArray,
    pair_indptr: IntArray,
    pair_items: IntArray,
    slot_indptr: IntArray,
    slots: IntArray,
    slot_relation: IntArray,
    slot_idf: FloatArray,
    num_relations: int,
    num_values: int,
    shrink: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what each candidate shares with its user's history through (relation, entity) slots.

    Args:
        user_indptr: Shape (B + 1,), events of each user.
        event_items: Shape (num_events,).
        event_values: Shape (num_events, num_values): weights; the last column is the centred
            rating, averaged rather than summed.
        pair_indptr: Shape (B + 1,), candidates of each user.
        pair_items: Shape (n,).
        slot_indptr: Shape (num_items + 1,), slots of each item.
        slots: Shape (num_entries,), slot numbers.
        slot_relation: Shape (num_slots,), the group of each slot.
        slot_idf: Shape (num_slots,).
        num_relations: Number of relation groups R.
        num_values: Columns of event_values.
        shrink: Events added to the denominator of the average.

    Returns:
        sums: Shape (n, R, num_values - 1): sum of idf * profile.
        taste: Shape (n, R): idf-weighted mean, over shared slots, of the shrunk mean rating.
        best: Shape (n,): the largest idf * profile (first column) of one slot.
    """
    n = len(pair_items)
    sums = np.zeros((n, num_relations, num_values - 1), dtype=np.float32)
    taste = np.zeros((n, num_relations), dtype=np.float32)
    best = np.zeros(n, dtype=np.float32)
    profile = np.zeros((len(slot_idf), num_values), dtype=np.float64)
    count = np.zeros(len(slot_idf), dtype=np.float64)
    weight = np.zeros(num_relations, dtype=np.float64)
    for user in range(len(user_indptr) - 1):
        for event in range(user_indptr[user], user_indptr[user + 1]):
            item = event_items[event]
            for place in range(slot_indptr[item], slot_indptr[item + 1]):
                slot = slots[place]
                count[slot] += 1.0
                for value in range(num_values):
                    profile[slot, value] += event_values[event, value]
        for pair in range(pair_indptr[user], pair_indptr[user + 1]):
            item = pair_items[pair]
            weight[:] = 0.0
            for place in range(slot_indptr[item], slot_indptr[item + 1]):
                slot = slots[place]
                if count[slot] == 0.0:
                    continue
                relation = slot_relation[slot]
                idf = slot_idf[slot]
                for value in range(num_values - 1):
                    sums[pair, relation, value] += idf * profile[slot, value]
                taste[pair, relation] += (
                    idf * profile[slot, num_values - 1] / (count[slot] + shrink)
                )
                weight[relation] += idf
                best[pair] = max(best[pair], idf * profile[slot, 0])
            for relation in range(num_relations):
                if weight[relation] > 0.0:
                    taste[pair, relation] /= weight[relation]
        for event in range(user_indptr[user], user_indptr[user + 1]):
            item = event_items[event]
            for place in range(slot_indptr[item], slot_indptr[item + 1]):
                slot = slots[place]
                count[slot] = 0.0
                for value in range(num_values):
                    profile[slot, value] = 0.0
    return sums, taste, best


@numba.njit(cache=True)
def row_sums(
    user_indptr: IntArray,
    event_items: IntArray,
    event_weights: FloatArray,
    pair_indptr: IntArray,
    pair_items: IntArray,
    row_indptr: IntArray,
    row_items: IntArray,
    row_values: FloatArray,
    num_items: int,
) -> FloatArray:
    """Return sum_j w_uj M[j, i] for each candidate i, M a sparse item-item matrix, shape (n,)."""
    out = np.zeros(len(pair_items), dtype=np.float32)
    buffer = np.zeros(num_items, dtype=np.float64)
    for user in range(len(user_indptr) - 1):
        for event in range(user_indptr[user], user_indptr[user + 1]):
            if event_weights[event] == 0.0:
                continue
            item = event_items[event]
            for place in range(row_indptr[item], row_indptr[item + 1]):
                buffer[row_items[place]] += event_weights[event] * row_values[place]
        for pair in range(pair_indptr[user], pair_indptr[user + 1]):
            out[pair] = buffer[pair_items[pair]]
        for event in range(user_indptr[user], user_indptr[user + 1]):
            item = event_items[event]
            for place in range(row_indptr[item], row_indptr[item + 1]):
                buffer[row_items[place]] = 0.0
    return out


@numba.njit(cache=True)
def largest_entries(indptr: IntArray, data: FloatArray, length: int) -> BoolArray:
    """Return which entries of a CSR matrix are among the ``length`` largest of their row.

    Of equal entries at the border the first ones stay. Shape (num_entries,), bool.
    """
    kept = np.ones(len(data), dtype=np.bool_)
    for row in range(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        if stop - start <= length:
            continue
        border = np.partition(data[start:stop], stop - start - length)[stop - start - length]
        room = length
        for place in range(start, stop):
            if data[place] > border:
                room -= 1
        for place in range(start, stop):
            if data[place] < border:
                kept[place] = False
            elif data[place] == border:
                kept[place] = room > 0
                room -= 1
    return kept
