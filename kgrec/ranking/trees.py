"""Boosted trees as flat arrays, summed by compiled loops; growing them is for lightgbm_ranker.py.

Each inner node that sends a row right strikes out the leaves on its left; the first leaf that is
left is the row's. That needs no branches, so that many rows go through one comparison at a time.
Source: Lucchese et al., QuickScorer, SIGIR 2015, with rows in place of documents' features inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled

MAX_LEAVES = 64
_ROWS_AT_A_TIME = 512  # the columns of so many rows stay in the caches
_INFINITE, _ZERO = np.float32(np.inf), np.float32(1e-35)
_BEYOND_ZERO = np.nextafter(_ZERO, _INFINITE)
# a de Bruijn number: times 2^i, its six highest bits differ for each i and tell which it is
_MIXER = np.uint64(0x03F79D71B4CB0A89)
_PLACES = np.empty(64, dtype=np.int64)
_PLACES[[((int(_MIXER) << place) & (2**64 - 1)) >> 58 for place in range(64)]] = np.arange(64)


@dataclass(frozen=True)
class Trees:
    """Trees whose sum is a score; T trees, N inner nodes, L leaves in all.

    Attributes:
        first_node: Shape (T + 1,), int64: inner nodes of each tree.
        feature: Shape (N,), int64.
        threshold: Shape (N,), float32: a row goes left where its value is not above.
        kept: Shape (N,), uint32 or uint64: the leaves that stay, by bits, where a row goes right.
        first_leaf: Shape (T,), int64.
        leaf_value: Shape (L,), float64, the leaves of a tree from left to right.
    """

    first_node: IntArray
    feature: IntArray
    threshold: FloatArray
    kept: npt.NDArray[Any]
    first_leaf: IntArray
    leaf_value: npt.NDArray[np.float64]

    def sums(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Return the sum of the trees for each row, shape (n,), in the order of the trees.

        Args:
            values: Shape (n, F), float32, finite.
        """
        out = np.zeros(len(values))
        for start in range(0, len(values), _ROWS_AT_A_TIME):
            part = values[start : start + _ROWS_AT_A_TIME]
            _add_trees(
                np.ascontiguousarray(part.T, dtype=np.float32),
                self.first_node,
                self.feature,
                self.threshold,
                self.kept,
                self.first_leaf,
                self.leaf_value,
                np.array([-1]).astype(self.kept.dtype),
                _PLACES,
                out[start : start + len(part)],
            )
        return out


def trees_of_text(model: str) -> Trees | None:
    """Return the trees of a model in LightGBM's text format.

    None where they cannot be told by comparisons of finite numbers: categories, values that stand
    for missing ones, more than MAX_LEAVES leaves.

    Args:
        model: What ``Booster.model_to_string`` returns.
    """
    trees = [_fields(part) for part in model.split("\nTree=")[1:]]
    if not all(map(_is_plain, trees)):
        return None
    leaves = [int(tree["num_leaves"]) for tree in trees]
    bits: Any = np.uint32 if max(leaves, default=1) <= 32 else np.uint64
    nodes, order = [], []
    for tree, count in zip(trees, leaves, strict=True):
        left, right = _numbers(tree, "left_child", int), _numbers(tree, "right_child", int)
        from_left, struck = _from_left(left, right)
        place = {leaf: at for at, leaf in enumerate(from_left)}
        kept = [~sum(1 << place[leaf] for leaf in part) & (2**64 - 1) for part in struck]
        nodes.append(np.array(kept, dtype=np.uint64).astype(bits))
        order.append(_numbers(tree, "leaf_value", float)[np.array(from_left, dtype=np.int64)])
        assert len(from_left) == count
    sizes = [max(count - 1, 0) for count in leaves]
    features = [_numbers(tree, "split_feature", int) for tree in trees]
    thresholds = [_numbers(tree, "threshold", float) for tree in trees]
    return Trees(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([*features, np.empty(0)]).astype(np.int64),
        _rounded_down(np.concatenate([*thresholds, np.empty(0)])),
        np.concatenate([*nodes, np.empty(0, dtype=bits)]),
        np.concatenate([[0], np.cumsum(leaves)])[:-1].astype(np.int64),
        np.concatenate([*order, np.empty(0)]),
    )


def _fields(part: str) -> dict[str, str]:
    lines = (line.partition("=") for line in part.split("\n\n", 1)[0].splitlines()[1:])
    return {name: value for name, _, value in lines}


def _is_plain(tree: dict[str, str]) -> bool:
    # bit 0: a category; bits 2 and 3: zero or NaN stands for missing
    decisions = _numbers(tree, "decision_type", int).astype(np.int64)
    plain = not ((decisions & 0b1101) != 0).any() and tree.get("is_linear", "0") == "0"
    return plain and tree["num_cat"] == "0" and int(tree["num_leaves"]) <= MAX_LEAVES


def _numbers(tree: dict[str, str], name: str, kind: type) -> npt.NDArray[Any]:
    return np.array([kind(number) for number in tree.get(name, "").split()])


def _from_left(left: IntArray, right: IntArray) -> tuple[list[int], list[list[int]]]:
    """Return a tree's leaves from left to right, and those below the left child of each node."""
    below: list[list[int]] = [[] for _ in left]

    def walk(node: int) -> list[int]:
        if node < 0:
            return [~node]
        below[node] = walk(int(left[node]))
        return below[node] + walk(int(right[node]))

    return (walk(0) if len(left) else [0]), below


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> FloatArray:
    """Return the float32 thresholds that part float32 values as LightGBM does.

    Each is the largest one not above; LightGBM takes values up to 1e-35 from 0 for 0.
    """
    near = thresholds.astype(np.float32)
    near = np.where(near > thresholds, np.nextafter(near, -_INFINITE), near)
    return np.where(np.abs(near) > _ZERO, near, np.where(near < 0, -_BEYOND_ZERO, _ZERO))


@compiled
def _add_trees(
    columns: Any,
    first_node: Any,
    feature: Any,
    threshold: Any,
    kept: Any,
    first_leaf: Any,
    leaf_value: Any,
    every_leaf: Any,
    places: Any,
    out: Any,
) -> None:
    """Add each row's leaf values to ``out``; columns (F, n) are features, contiguous by row."""
    size = columns.shape[1]
    every = every_leaf[0]
    left = np.empty(size, dtype=kept.dtype)
    for tree in range(len(first_leaf)):
        left[:] = every
        for node in range(first_node[tree], first_node[tree + 1]):
            column, border, stays = columns[feature[node]], threshold[node], kept[node]
            for row in range(size):
                left[row] &= stays if column[row] > border else every
        leaves = leaf_value[first_leaf[tree] :]
        for row in range(size):
            bits = np.uint64(left[row])
            first = bits & (~bits + np.uint64(1))
            out[row] += leaves[places[(first * _MIXER) >> np.uint64(58)]]
