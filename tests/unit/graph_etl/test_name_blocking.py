"""Near pairs of one list: order does not matter, equal keys meet, no block is quadratic."""

from __future__ import annotations

import random

import numpy as np

from graph_etl.resolution.blocking import ngrams, pairs_within

WORDS = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heath"]


def pairs_of(keys, **options):
    pairs, num_cut = pairs_within(keys, **{"max_block": 50, **options})
    return {tuple(sorted((keys[a], keys[b]))) for a, b in pairs}, num_cut


def test_few_keys_have_no_pairs():
    for keys in ([], ["one"]):
        pairs, num_cut = pairs_within(keys, max_block=5)
        assert pairs.shape == (0, 2)
        assert num_cut == 0


def test_near_keys_meet_and_far_ones_do_not():
    keys = ["sergei bodrov", "sergey bodrov", "quentin tarantino", "agnes varda"]
    assert pairs_of(keys)[0] == {("sergei bodrov", "sergey bodrov")}


def test_equal_keys_meet():
    assert pairs_within(["toho", "toho", "daiei"], max_block=5)[0].tolist() == [[0, 1]]


def test_order_of_keys_does_not_change_the_pairs():
    keys = [f"{a} {b}" for a in WORDS for b in WORDS]
    shuffled = random.Random(3).sample(keys, len(keys))
    assert pairs_of(keys) == pairs_of(shuffled)


def test_pairs_are_those_that_jaccard_similarity_promises():
    keys = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS[:4]]
    found = pairs_of(keys, max_block=len(keys))[0]
    sure = likely = 0
    for i, one in enumerate(keys):
        for other in keys[i + 1 :]:
            a, b = ngrams(one, 3), ngrams(other, 3)
            if len(a & b) / len(a | b) >= 0.6:
                sure += 1
                likely += tuple(sorted((one, other))) in found
    assert sure > 100
    assert likely / sure > 0.85


def test_large_blocks_are_cut_and_counted():
    keys = [f"the same long beginning of every name {n:04d}" for n in range(600)]
    pairs, num_cut = pairs_within(keys, max_block=20)
    assert num_cut > 0
    assert len(pairs) <= 16 * len(keys) * 20
    assert len(pairs) == len(np.unique(pairs, axis=0))
    assert (pairs[:, 0] < pairs[:, 1]).all()
