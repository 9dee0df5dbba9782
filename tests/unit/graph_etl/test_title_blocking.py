from graph_etl.resolution.blocking import near_pairs, ngrams


def test_ngrams_mark_the_ends():
    assert ngrams("ab", 3) == {" ab", "ab "}
    assert ngrams("", 3) == set()


def test_near_pairs_finds_equal_and_near_titles_and_not_the_rest():
    left = ["garden of finzi contini", "", "sunset blvd"]
    right = ["the jackal", "garden of the finzi continis", "sunset blvd", "", "sunset blvd"]
    pairs = list(near_pairs(left, right))
    assert {(0, 1), (2, 2), (2, 4)} <= set(pairs)
    assert not any(i == 1 or j in (0, 3) for i, j in pairs)
    assert pairs == sorted(pairs)
    assert pairs == list(near_pairs(left, right))


def test_near_pairs_proposes_few_of_all_pairs():
    titles = [f"{a} {b} {c}" for a in ["quick", "slow", "warm"] for b in ["brown", "grey"]
              for c in ("fox", "hare", "kettle", "meadow")]  # fmt: skip
    pairs = set(near_pairs(titles, titles, threshold=0.8))
    assert {(i, i) for i in range(len(titles))} <= pairs
    assert len(pairs) < len(titles) ** 2 / 2
