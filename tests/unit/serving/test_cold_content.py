"""Texts and content of new items land where the catalogue's own would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import sparse

from kgrec.data.dataset import Items
from kgrec.data.interactions import FloatArray
from kgrec.retrieval.content_vectors import centred, hashed_text_vectors, unit_rows
from kgrec.serving.cold_content import KernelMap, TextSpace

TOPICS = ("tea leaf cup saucer", "oak table chair desk", "wool scarf knit yarn", "iron pan lid pot")


def texts_of(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    words = [topic.split() for topic in TOPICS]
    return [" ".join(rng.choice(words[n % 4], size=6)) for n in range(count)]


def encode(texts: Sequence[str]) -> FloatArray:
    """An encoder whose vectors share a large common part, as sentence vectors do."""
    rng = np.random.default_rng(7)
    table = {word: rng.standard_normal(24) for topic in TOPICS for word in topic.split()}
    common = 5.0 * rng.standard_normal(24)
    rows = [common + sum(table[word] for word in text.split()) for text in texts]
    return unit_rows(np.array(rows, dtype=np.float32)) * [[bool(text)] for text in texts]


def test_the_centre_is_found_again_from_a_few_items() -> None:
    texts = texts_of(300, 0)
    raw = encode(texts)
    space = TextSpace(centred(raw), texts, encode)
    new = texts_of(20, 1)
    expected = unit_rows(encode(new) - raw.mean(axis=0))
    np.testing.assert_allclose(space(new), expected, atol=1e-3)
    assert not space([""]).any()


def test_hashed_words_land_among_their_like() -> None:
    texts = texts_of(200, 0)
    blank = np.array([""] * 200, dtype=object)
    items = Items(ids=blank, titles=blank, texts=np.array(texts, dtype=object), numeric={})
    vectors = centred(hashed_text_vectors(items))
    found = TextSpace(vectors, texts, None)(texts_of(40, 1))
    nearest = (found @ vectors.T).argmax(axis=1)
    assert (nearest % 4 == np.arange(40) % 4).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("encoder", [None, encode])
def test_a_catalogue_without_texts_gives_zeros(encoder: object) -> None:
    space = TextSpace(np.zeros((5, 3), dtype=np.float32), [""] * 5, encoder)  # type: ignore[arg-type]
    assert not space(["tea"]).any()
    assert TextSpace(np.zeros((5, 0), dtype=np.float32), [""] * 5, None)(["tea"]).shape == (1, 0)


def test_a_kernel_map_finds_a_linear_map_whatever_it_learns_from() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3000, 30))
    weights = rng.standard_normal((30, 5))
    targets = (features @ weights).astype(np.float32)
    learned = KernelMap(sparse.csr_matrix(features), targets, np.arange(3000), ridge=1e-3)
    new = rng.standard_normal((10, 30))
    np.testing.assert_allclose(learned(sparse.csr_matrix(new)), new @ weights, atol=1e-2)
