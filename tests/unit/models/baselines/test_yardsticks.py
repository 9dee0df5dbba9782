"""LightGCN, KGIN and SASRec against dense forms; steps and losses with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.errors import ConfigError, DataError
from kgrec.models.baselines import LightGCN, make_baseline
from kgrec.models.baselines.neural import liked_pairs
from kgrec.models.baselines.sasrec import latest_likes
from kgrec.models.graph_encoder import RelationalGraph
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.yardsticks.fitting import ranking_loss
from kgrec.models.yardsticks.kgin_network import KGINNetwork, KGINSizes, likeness
from kgrec.models.yardsticks.lightgcn_network import LightGCNNetwork
from kgrec.models.yardsticks.pairs import LikeSteps, UnlikedItems
from kgrec.models.yardsticks.sasrec_network import SASRecNetwork, SASRecSizes, SequenceSteps

SMALL = {"embedding_dim": 8, "num_epochs": 5, "threads": 1}


def dense_likes(train: TrainingData) -> torch.Tensor:
    users, items = liked_pairs(train, "test")
    likes = torch.zeros(train.num_users, train.num_items)
    likes[users, items] = 1
    return likes


def share_found(model: Scorer, everyone: HistoryBatch) -> float:
    """Return the share of likes among as many best items as the user likes."""
    scores = model.scores(everyone)
    found = []
    for row in range(len(everyone)):
        own = slice(everyone.indptr[row], everyone.indptr[row + 1])
        likes = everyone.item_idx[own][everyone.positive[own]]
        best = np.argsort(-scores[row])[: len(likes)]
        found.append(np.isin(best, likes).mean() if len(likes) else 1.0)
    return float(np.mean(found))


@pytest.mark.parametrize("num_layers", [1, 3])
def test_lightgcn_layers_are_powers_of_the_normalised_adjacency(
    train: TrainingData, num_layers: int
) -> None:
    likes = dense_likes(train)
    users, items = liked_pairs(train, "test")
    network = LightGCNNetwork(users, items, tuple(likes.shape), 4, num_layers, 0.0, "pairwise")
    size = sum(likes.shape)
    adjacency = torch.zeros(size, size)
    adjacency[: len(likes), len(likes) :] = likes
    adjacency[len(likes) :, : len(likes)] = likes.T
    scale = adjacency.sum(1).clamp_min(1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    first = torch.cat([network.users, network.items])
    user_layers, item_layers = network.layers()
    for layer in range(num_layers + 1):
        expected = torch.linalg.matrix_power(adjacency, layer) @ first
        found = torch.cat([user_layers[layer], item_layers[layer]])
        torch.testing.assert_close(found, expected)


def test_lightgcn_history_of_a_train_user_gives_the_vector_of_training(
    train: TrainingData, everyone: HistoryBatch
) -> None:
    model = make_baseline("lightgcn", {**SMALL, "num_layers": 2}).fit(train)
    assert isinstance(model, LightGCN)
    likes = dense_likes(train).numpy()
    scale = np.maximum(likes.sum(1), 1)[:, None] ** -0.5
    expected = scale * (likes @ model.state()["senders"])
    np.testing.assert_allclose(model.user_vectors(everyone), expected, rtol=1e-5, atol=1e-6)


def kgin(train: TrainingData, *, dropout: float = 0.0, intents: int = 3) -> KGINNetwork:
    users, items = liked_pairs(train, "test")
    torch.manual_seed(3)
    graph = RelationalGraph.of(train.graph, 1)
    sizes = KGINSizes(4, 2, intents, dropout, 0.0, 0.1, "pairwise")
    return KGINNetwork(users, items, train.num_users, graph, sizes)


def test_kgin_facts_are_the_relation_weighted_mean(train: TrainingData) -> None:
    network = kgin(train)
    facts = network.messages
    expected = torch.zeros(facts.num_nodes, 4)
    for node in range(facts.num_nodes):
        messages = [
            network.relations[relation] * network.nodes[source]
            for target, source, relation in zip(
                facts.target, facts.source, facts.relation, strict=True
            )
            if target == node
        ]
        if messages:
            expected[node] = torch.stack(messages).mean(0)
    torch.testing.assert_close(network.facts(network.nodes), expected)


def test_kgin_user_vector_leaves_the_like_asked_for_out(train: TrainingData) -> None:
    network, likes = kgin(train).eval(), dense_likes(train)
    user = int(torch.argmax(likes.sum(1)))
    liked = int(torch.nonzero(likes[user])[0])
    others = [item for item in range(train.num_items) if likes[user, item] and item != liked]
    intents = network.intents()
    total = state = network.nodes[others].mean(0)
    for layer in network.node_layers()[:-1]:
        mixed = torch.softmax(state @ intents.T, 0) @ intents
        state = torch.nn.functional.normalize(layer[others].mean(0) * mixed, dim=0)
        total = total + state
    found, _ = network.vectors(torch.tensor([user]), torch.tensor([liked]))
    torch.testing.assert_close(found[0], total)


def test_kgin_likeness_is_the_mean_squared_cosine_of_pairs() -> None:
    intents = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert float(likeness(intents)) == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert float(likeness(intents[:1])) == pytest.approx(0.0)


def sasrec(num_items: int = 9, length: int = 6) -> SASRecNetwork:
    torch.manual_seed(2)
    return SASRecNetwork(num_items, SASRecSizes(8, 2, 2, length, 0.0, 0.0, "pairwise")).eval()


def test_sasrec_later_events_do_not_change_earlier_states() -> None:
    network, events = sasrec(), torch.tensor([[9, 0, 3, 5, 2, 7]])
    states = network(events)
    for place in range(1, 6):
        other = events.clone()
        other[0, place] = (other[0, place] + 1) % 9
        changed = network(other)
        torch.testing.assert_close(changed[:, :place], states[:, :place])
        assert not torch.allclose(changed[:, place], states[:, place])


def test_sasrec_padding_is_not_heard() -> None:
    network = sasrec()
    short, long = torch.tensor([[4, 1, 8]]), torch.tensor([[9, 9, 9, 4, 1, 8]])
    torch.testing.assert_close(network(long)[:, 3:], network(short))


def test_sasrec_refuses_heads_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="num_heads to divide embedding_dim"):
        make_baseline("sasrec", {"embedding_dim": 10, "num_heads": 3})


def test_latest_likes_leaves_low_ratings_out_and_pads_in_front() -> None:
    histories = HistoryBatch(
        np.array([0, 1, 2]),
        np.array([0, 4, 4, 5]),
        np.array([5, 6, 7, 8, 3]),
        np.ones(5, dtype=np.float32),
        np.arange(5),
        np.array([True, False, True, True, True]),
        np.zeros(3, dtype=np.int64),
    )
    assert latest_likes(histories, 2, 9).tolist() == [[7, 8], [9, 9], [9, 3]]
    assert latest_likes(histories, 4, 9).tolist()[0] == [9, 5, 7, 8]


def test_sequence_steps_ask_for_the_next_event() -> None:
    sequences = np.array([[4, 4, 0, 1, 2], [4, 4, 4, 2, 0]])
    unliked = UnlikedItems(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 2]), 4)
    steps = SequenceSteps(sequences, unliked, 4, batch_size=3, num_epochs=1, seed=0)
    ((events, following, other),) = list(steps)
    order = [0, 1] if events[0, 0] == 0 else [1, 0]
    assert events[order].tolist() == [[0, 1], [4, 2]]  # no column without an event
    assert following[order].tolist() == [[1, 2], [4, 0]]
    assert other[order][0].tolist() == [3, 3]
    assert set(other[order][1].tolist()) <= {1, 3}


def test_like_steps_show_every_like_once_an_epoch_and_never_an_item_liked() -> None:
    user, item = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    steps = LikeSteps(user, item, 3, batch_size=2, num_epochs=2, seed=4)
    drawn = [torch.cat(parts) for parts in zip(*steps, strict=True)]
    pairs = sorted(zip(drawn[0].tolist(), drawn[1].tolist(), strict=True))
    assert pairs == sorted(2 * list(zip(user.tolist(), item.tolist(), strict=True)))
    liked = set(zip(user.tolist(), item.tolist(), strict=True))
    others = set(zip(drawn[0].tolist(), drawn[2].tolist(), strict=True))
    assert not liked & others


def test_unliked_items_end_for_one_who_likes_everything() -> None:
    unliked = UnlikedItems(np.array([0, 0, 1]), np.array([0, 1, 0]), 2)
    drawn = unliked.draw(np.array([0, 1, 1]), np.random.default_rng(0))
    assert drawn[0] in (0, 1)
    assert drawn[1:].tolist() == [1, 1]


def test_ranking_losses_have_known_values() -> None:
    users, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 0.0]])
    liked, unliked = torch.tensor([0]), torch.tensor([2])
    pairwise = ranking_loss(users, items, liked, unliked, "pairwise")
    assert float(pairwise) == pytest.approx(np.log1p(np.exp(-1.0)))
    softmax = ranking_loss(users, items, liked, unliked, "softmax")
    assert float(softmax) == pytest.approx(np.log(np.exp(2) + 1 + np.e) - 2)


@pytest.mark.parametrize(
    ("name", "loss"), [("lightgcn", "pairwise"), ("lightgcn", "softmax"), ("kgin", "pairwise")]
)
def test_graph_yardstick_learns_a_small_set_by_heart(
    name: str, loss: str, train: TrainingData, everyone: HistoryBatch
) -> None:
    settings = {"embedding_dim": 16, "threads": 1, "loss": loss, "learning_rate": 0.01, "l2": 0.0}
    few = make_baseline(name, {**settings, "num_epochs": 1}).fit(train)
    many = make_baseline(name, {**settings, "num_epochs": 150}).fit(train)
    assert share_found(many, everyone) > share_found(few, everyone) + 0.1


@pytest.mark.parametrize("loss", ["pairwise", "softmax"])
def test_sasrec_learns_which_item_follows_which(loss: str, train: TrainingData) -> None:
    users = np.repeat(np.arange(train.num_users), 5)
    items = (users * 3 + np.tile(np.arange(5), train.num_users)) % train.num_items
    walks = Interactions(
        users,
        items,
        np.ones(len(users), dtype=np.float32),
        np.tile(np.arange(1, 6), train.num_users),
        np.ones(len(users), dtype=np.bool_),
    )
    settings = {"embedding_dim": 16, "threads": 1, "loss": loss, "learning_rate": 0.01}
    model = make_baseline("sasrec", {**settings, "num_epochs": 120}).fit(
        replace(train, interactions=walks)
    )
    asked = HistoryBatch.from_interactions(walks, np.unique(users))
    last = asked.item_idx[asked.indptr[1:] - 1]
    best = model.top(asked, 1).item_idx[:, 0]
    assert (best == (last + 1) % train.num_items).mean() > 0.9


@pytest.mark.parametrize("name", ["lightgcn", "kgin", "sasrec"])
def test_yardstick_that_diverges_is_refused(name: str, train: TrainingData) -> None:
    with pytest.raises(DataError, match="finite training loss"):
        make_baseline(name, {**SMALL, "learning_rate": 1e30, "l2": 1e30}).fit(train)


def test_yardstick_without_likes_is_refused(train: TrainingData) -> None:
    nothing = replace(train, interactions=train.interactions.take(np.empty(0, dtype=np.int64)))
    for name in ("lightgcn", "kgin", "sasrec"):
        with pytest.raises(DataError, match="Expected at least one"):
            make_baseline(name, SMALL).fit(nothing)
