"""Compiled loops over user-item pairs; each feature's meaning is in features.py."""

from __future__ import annotations

import numba
import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.models.sparse_rows import empty_table, slot_of

_FEW = 16  # candidates of a user that are looked up in each row, in place of reading the rows


@numba.njit(cache=True, nogil=True)
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
    weight = np.zeros(num_relations, dtype=np.float64)
    for user in range(len(user_indptr) - 1):
        most = 0
        for event in range(user_indptr[user], user_indptr[user + 1]):
            most += slot_indptr[event_items[event] + 1] - slot_indptr[event_items[event]]
        table = empty_table(min(most, len(slot_idf)))  # the history's slots
        profile = np.zeros((len(table), num_values), dtype=np.float64)
        count = np.zeros(len(table), dtype=np.float64)
        for event in range(user_indptr[user], user_indptr[user + 1]):
            item = event_items[event]
            for place in range(slot_indptr[item], slot_indptr[item + 1]):
                own = slot_of(table, slots[place])
                table[own] = slots[place]
                count[own] += 1.0
                for value in range(num_values):
                    profile[own, value] += event_values[event, value]
        for pair in range(pair_indptr[user], pair_indptr[user + 1]):
            item = pair_items[pair]
            weight[:] = 0.0
            for place in range(slot_indptr[item], slot_indptr[item + 1]):
                slot = slots[place]
                own = slot_of(table, slot)
                if table[own] < 0:
                    continue
                relation = slot_relation[slot]
                idf = slot_idf[slot]
                for value in range(num_values - 1):
                    sums[pair, relation, value] += idf * profile[own, value]
                taste[pair, relation] += idf * profile[own, num_values - 1] / (count[own] + shrink)
                weight[relation] += idf
                best[pair] = max(best[pair], idf * profile[own, 0])
            for relation in range(num_relations):
                if weight[relation] > 0.0:
                    taste[pair, relation] /= weight[relation]
    return sums, taste, best


@numba.njit(cache=True, nogil=True)
def row_sums(
    user_indptr: IntArray,
    event_items: IntArray,
    event_weights: FloatArray,
    pair_indptr: IntArray,
    pair_items: IntArray,
    row_indptr: IntArray,
    row_items: IntArray,
    row_values: FloatArray,
) -> FloatArray:
    """Return sum_j w_uj M[j, i] for each candidate i and each column of weights.

    Args:
        user_indptr: Shape (B + 1,), events of each user.
        event_items: Shape (num_events,).
        event_weights: Shape (num_events, W), float32.
        pair_indptr: Shape (B + 1,), candidates of each user, none named twice.
        pair_items: Shape (n,).
        row_indptr: Rows of M, as in CSR, columns ascending.
        row_items: Its columns.
        row_values: Its entries, float32.

    Returns:
        Shape (n, W), float32.
    """
    num_weights, num_items = event_weights.shape[1], len(row_indptr) - 1
    # many candidates of a small catalogue: a place for each item costs less than hashing them
    direct = num_items <= 4 * len(pair_items)
    place_of = np.full(num_items if direct else 0, -1, dtype=np.int64)
    out = np.zeros((len(pair_items), num_weights), dtype=np.float32)
    for user in range(len(user_indptr) - 1):
        first, stop = pair_indptr[user], pair_indptr[user + 1]
        if stop - first <= _FEW:
            for event in range(user_indptr[user], user_indptr[user + 1]):
                start, end = row_indptr[event_items[event]], row_indptr[event_items[event] + 1]
                own = row_items[start:end]
                for pair in range(first, stop):
                    place = np.searchsorted(own, pair_items[pair])
                    if place < end - start and own[place] == pair_items[pair]:
                        for column in range(num_weights):
                            weight = event_weights[event, column]
                            out[pair, column] += weight * row_values[start + place]
            continue
        table = empty_table(0 if direct else stop - first)
        pair_of = np.full(len(table), -1, dtype=np.int64)
        for pair in range(first, stop):
            if direct:
                place_of[pair_items[pair]] = pair - first
            else:
                slot = slot_of(table, pair_items[pair])
                table[slot] = pair_items[pair]
                pair_of[slot] = pair - first
        sums = np.zeros((stop - first, num_weights), dtype=np.float64)
        for event in range(user_indptr[user], user_indptr[user + 1]):
            item, low = event_items[event], 0
            while low < num_weights and event_weights[event, low] == 0.0:
                low += 1  # most events are in the last columns alone
            if low == num_weights:
                continue
            for place in range(row_indptr[item], row_indptr[item + 1]):
                other = row_items[place]
                pair = place_of[other] if direct else pair_of[slot_of(table, other)]
                if pair >= 0:
                    for column in range(low, num_weights):
                        weight = event_weights[event, column]
                        sums[pair, column] += weight * row_values[place]
        out[first:stop] = sums
        if direct:
            place_of[pair_items[first:stop]] = -1
    return out


@numba.njit(cache=True, nogil=True)
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
