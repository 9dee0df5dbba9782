"""Blocking: which pairs of titles or names are near enough to be compared letter by letter.

MinHash signatures over character n-grams, looked up in locality-sensitive hash tables, so that the
work grows with the number of titles and not with its square. Whether a pair belongs together is
the business of linking.py and entity_merges.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

_SEED = 1  # of the hash permutations; any constant keeps two runs alike
_BAND_ROWS = 4  # hash values that must be equal for two keys to share a block


def ngrams(key: str, size: int) -> set[str]:
    """Return the character n-grams of a key, its ends marked; "" gives none.

    Example:
        >>> sorted(ngrams("abc", 3))
        [' ab', 'abc', 'bc ']
    """
    padded = f" {key} "
    return {padded[i : i + size] for i in range(max(len(padded) - size + 1, 1))} if key else set()


def near_pairs(
    left: Sequence[str],
    right: Sequence[str],
    *,
    threshold: float = 0.35,
    ngram_size: int = 3,
    num_permutations: int = 64,
) -> Iterator[tuple[int, int]]:
    """Yield positions (i, j) of pairs whose n-gram Jaccard similarity is probably >= threshold.

    Probably: a pair near the threshold may be missed, and one below it may come; equal keys always
    meet. The permutations are fixed, so the same titles give the same pairs.

    Args:
        left: Keys that are looked up; "" meets nothing.
        right: Keys that are looked up in; memory is about 8 bytes x permutations for each.
        threshold: Jaccard similarity of n-grams, 0-1, that the hash tables are laid out for.
        ngram_size: Characters in one n-gram.
        num_permutations: Length of a signature; more is surer and slower.

    Yields:
        (position in left, position in right), by rising i, then rising j.

    Source:
        Broder, "On the resemblance and containment of documents", 1997.
    """
    tables = MinHashLSH(threshold=threshold, num_perm=num_permutations)
    positions: dict[str, list[int]] = defaultdict(list)
    for j, key in enumerate(right):
        if key:
            positions[key].append(j)
    distinct = list(positions)
    for number, key in enumerate(distinct):
        tables.insert(number, _signature(key, ngram_size, num_permutations))
    for i, key in enumerate(left):
        if not key:
            continue
        found = tables.query(_signature(key, ngram_size, num_permutations))
        for j in sorted(j for number in found for j in positions[distinct[number]]):
            yield i, j


def pairs_within(
    keys: Sequence[str],
    *,
    max_block: int,
    threshold: float = 0.35,
    ngram_size: int = 3,
    num_permutations: int = 64,
) -> tuple[NDArray[np.int64], int]:
    """Return positions of near pairs among the keys themselves, and how many blocks were cut.

    Keys whose signatures are equal in one of 16 bands share a block; a pair of Jaccard similarity
    0.6 does so with probability 0.89, one of 0.3 with 0.12. A block larger than ``max_block`` is
    sorted by key and cut into parts of that size, so that the pairs grow with keys x max_block.

    Args:
        keys: Distinct keys; the pairs do not depend on their order.
        max_block: Keys of a block that are compared with each other, at least 2.
        threshold: Estimated Jaccard similarity (equal share of the signatures) from which on a
            pair is returned.
        ngram_size: Characters in one n-gram.
        num_permutations: Length of a signature.

    Returns:
        (int64, shape (num_pairs, 2), each pair once with the smaller position first, sorted;
        number of blocks that were cut).
    """
    if len(keys) < 2:
        return np.empty((0, 2), np.int64), 0
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    signatures = np.stack([_signature(keys[i], ngram_size, num_permutations).hashvalues
                           for i in order]).astype(np.uint32)  # fmt: skip
    found = [np.empty((0, 2), np.int64)]
    num_cut = 0
    for start in range(0, num_permutations, _BAND_ROWS):
        band = signatures[:, start : start + _BAND_ROWS]
        _, block, sizes = np.unique(band, axis=0, return_inverse=True, return_counts=True)
        num_cut += int((sizes > max_block).sum())
        for pairs in _pairs_of_blocks(block.ravel(), sizes, max_block):
            alike = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(axis=1)
            found.append(pairs[alike >= threshold])
    near = order[np.unique(np.concatenate(found), axis=0)]
    near.sort(axis=1)
    return np.unique(near, axis=0), num_cut


def _pairs_of_blocks(
    block: NDArray[np.int64], sizes: NDArray[np.int64], max_block: int
) -> Iterator[NDArray[np.int64]]:
    """Yield all pairs of rows of one block, blocks cut to max_block rows; shape (n, 2) each."""
    rows = np.argsort(block, kind="stable")
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    left = np.repeat(sizes, sizes) - place - 1  # rows of the block behind this one
    behind = np.minimum(left, max_block - 1 - place % max_block)
    for step in range(1, int(behind.max(initial=0)) + 1):
        one = np.flatnonzero(behind >= step)
        yield np.stack([rows[one], rows[one + step]], axis=1)


@cache
def _empty(num_permutations: int) -> MinHash:
    """Return a signature of nothing; its permutations are costly to draw, so they are shared."""
    return MinHash(num_perm=num_permutations, seed=_SEED)


def _signature(key: str, ngram_size: int, num_permutations: int) -> MinHash:
    signature = _empty(num_permutations).copy()
    signature.update_batch([gram.encode() for gram in sorted(ngrams(key, ngram_size))])
    return signature
