"""Blocking: which pairs of titles are near enough to be worth comparing letter by letter.

MinHash signatures over character n-grams, looked up in locality-sensitive hash tables, so that the
work grows with the number of titles and not with its square. Whether a pair belongs together is
the business of linking.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

from datasketch import MinHash, MinHashLSH

_SEED = 1  # of the hash permutations; any constant keeps two runs alike


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


@cache
def _empty(num_permutations: int) -> MinHash:
    """Return a signature of nothing; its permutations are costly to draw, so they are shared."""
    return MinHash(num_perm=num_permutations, seed=_SEED)


def _signature(key: str, ngram_size: int, num_permutations: int) -> MinHash:
    signature = _empty(num_permutations).copy()
    signature.update_batch([gram.encode() for gram in sorted(ngrams(key, ngram_size))])
    return signature
