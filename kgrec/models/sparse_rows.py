"""Sums of a few sparse rows without a row over all columns: compiled, by hashed columns.

What is needed grows with the entries of the rows that are summed, never with the catalogue.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.models.compiled import compiled
from kgrec.models.top_items import best_of_row, kth_largest, write_sorted


@compiled
def empty_table(most: Any) -> Any:
    """Return a table for up to ``most`` different keys, int64; -1 marks a free slot."""
    size = 16
    while 2 * size < 3 * most:
        size *= 2
    return np.full(size, -1, dtype=np.int64)


@compiled
def slot_of(table: Any, key: Any) -> Any:
    """Return the slot of a key, or the free one that it would take."""
    mixed = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    last = len(table) - 1
    slot = np.int64(mixed) & last
    while table[slot] >= 0 and table[slot] != key:
        slot = (slot + 1) & last
    return slot


@compiled
def chains(keys: Any) -> Any:
    """Return (table, first, following): the places of each key as a chain that ends with -1."""
    table = empty_table(len(keys))
    first = np.full(len(table), -1, dtype=np.int64)
    following = np.empty(len(keys), dtype=np.int64)
    for place in range(len(keys) - 1, -1, -1):  # the chain begins with the lowest place
        slot = slot_of(table, keys[place])
        table[slot] = keys[place]
        following[place] = first[slot]
        first[slot] = place
    return table, first, following


@compiled
def sum_of_rows(
    rows: Any,
    row_weights: Any,
    own: Any,
    indptr: Any,
    columns: Any,
    values: Any,
    num_columns: Any,
) -> Any:
    """Return a weighted sum of sparse rows as (table, sums): sums[s] is of column table[s].

    Columns that no row holds are not in the table; those of ``own`` are, at -inf.

    Args:
        rows: Shape (n,), rows to add, in this order.
        row_weights: Shape (n,), float32.
        own: Columns that are no answers.
        indptr: Rows of the matrix, as in CSR.
        columns: Its columns.
        values: Its entries, float32.
        num_columns: Columns in all.
    """
    most = len(own)
    for place in range(len(rows)):
        most += indptr[rows[place] + 1] - indptr[rows[place]]
    table = empty_table(min(most, num_columns))
    sums = np.zeros(len(table), dtype=np.float32)
    for place in range(len(rows)):
        weight = row_weights[place]
        for entry in range(indptr[rows[place]], indptr[rows[place] + 1]):
            slot = slot_of(table, columns[entry])
            table[slot] = columns[entry]
            sums[slot] += weight * values[entry]
    for place in range(len(own)):
        slot = slot_of(table, own[place])
        table[slot] = own[place]
        sums[slot] = -np.inf
    return table, sums


@compiled
def look_up(table: Any, sums: Any, columns: Any, out: Any) -> None:
    """Write the sums of chosen columns into ``out``, 0 for those that no row holds."""
    for place in range(len(columns)):
        slot = slot_of(table, columns[place])
        out[place] = sums[slot] if table[slot] >= 0 else 0.0


@compiled
def best_of_sums(
    table: Any,
    sums: Any,
    allowed: Any,
    num_columns: Any,
    seed: Any,
    user: Any,
    item_idx: Any,
    score: Any,
) -> None:
    """Write the best columns, those that no row holds counting 0, as ``best_of_row`` does.

    Args:
        table: As ``sum_of_rows`` returns it.
        sums: As ``sum_of_rows`` returns them.
        allowed: Shape (num_columns,), bool, or empty for all.
        num_columns: Columns in all.
        seed: Seed of the order among equal scores.
        user: Whose row it is.
        item_idx: Shape (k,), int64, filled with -1.
        score: Shape (k,), float32, filled with -inf.
    """
    found = np.empty(len(table), dtype=np.int64)
    values = np.empty(len(table), dtype=np.float32)
    count = 0
    for slot in range(len(table)):
        column = table[slot]
        if column >= 0 and sums[slot] > 0.0 and (len(allowed) == 0 or allowed[column]):
            found[count] = column
            values[count] = sums[slot]
            count += 1
    if count >= len(item_idx):
        best_of_some(found[:count], values[:count], seed, user, item_idx, score)
        return
    # too few above 0: columns that no row holds come in, or all those below 0
    row = np.zeros(num_columns, dtype=np.float32)
    for slot in range(len(table)):
        if table[slot] >= 0:
            row[table[slot]] = sums[slot]
    for column in range(len(allowed)):
        if not allowed[column]:
            row[column] = -np.inf
    best_of_row(row, seed, user, item_idx, score)


@compiled
def best_of_some(items: Any, values: Any, seed: Any, user: Any, item_idx: Any, score: Any) -> None:
    """Write the best of some items, each named once, as ``best_of_row`` does of a whole row.

    Args:
        items: Shape (n,).
        values: Shape (n,), float32, above -inf.
        seed: Seed of the order among equal scores.
        user: Whose items they are.
        item_idx: Shape (k,), int64, filled with -1.
        score: Shape (k,), float32, filled with -inf.
    """
    size, k = len(items), len(item_idx)
    if k == 0:
        return
    border = np.float32(-np.inf)
    if size > k:
        border = kth_largest(values, k)
    kept = np.flatnonzero(values >= border)
    write_sorted(items[kept], values[kept], seed, user, item_idx, score)
