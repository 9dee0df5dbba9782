"""Graph layers against a dense reference, against torch-geometric, and in their edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from towers_data import NUM_ITEMS, planted

from kgrec.data.graph import KnowledgeGraph
from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder, RelationalGraph
from kgrec.models.graph_layers import RULES, AttentionRule, BasisRule
from kgrec.models.relational_data import hetero_data
from kgrec.models.towers_config import TowersConfig


def _random_graph(seed: int = 0) -> KnowledgeGraph:
    rng = np.random.default_rng(seed)
    num_entities, num_items, num_triples = 40, 15, 160
    return KnowledgeGraph(
        entity_ids=np.array([f"e{i}" for i in range(num_entities)], dtype=object),
        entity_types=np.array(["thing"] * num_entities, dtype=object),
        entity_names=np.array([f"E{i}" for i in range(num_entities)], dtype=object),
        relations=("r0", "r1", "r2"),
        phrases=("a", "b", "c"),
        head=rng.integers(0, num_entities, num_triples),
        relation=rng.integers(0, 3, num_triples),
        tail=rng.integers(0, num_entities, num_triples),
        item_entity=rng.permutation(num_entities)[:num_items],
    )


def _encoder(graph: RelationalGraph, layers: int = 2, rule: str = "scaled") -> KnowledgeEncoder:
    torch.manual_seed(0)
    config = TowersConfig(embedding_dim=6, graph_layers=layers, graph_rule=rule, graph_bases=3)
    encoder = KnowledgeEncoder(graph, config)
    with torch.no_grad():
        for weights in [encoder.relations, *encoder.rule.parameters()]:
            weights.normal_()
    return encoder


def _said(encoder: KnowledgeEncoder, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
    if isinstance(encoder.rule, BasisRule):
        return source @ (relation.reshape(-1, 1, 1) * encoder.rule.bases).sum(dim=0)
    return source * relation


def _dense_reference(
    knowledge: KnowledgeGraph, encoder: KnowledgeEncoder, items: torch.Tensor
) -> torch.Tensor:
    """Return the encoder's answer from one message at a time, min_entity_degree 1."""
    graph = encoder.graph
    node_of = {int(entity): node for node, entity in enumerate(knowledge.item_entity)}
    for place, entity in enumerate(graph.kept_entities):
        node_of[int(entity)] = graph.num_items + place
    messages = []
    for h, r, t in zip(knowledge.head, knowledge.relation, knowledge.tail, strict=True):
        if h != t:
            messages.append((node_of[int(h)], int(r), node_of[int(t)]))
            messages.append((node_of[int(t)], int(r) + 3, node_of[int(h)]))
    degree = torch.zeros(graph.num_nodes)
    for _, _, target in messages:
        degree[target] += 1
    nodes = torch.cat([items, encoder.entities])
    total = torch.zeros_like(items)
    for _ in range(encoder.num_layers):
        told = torch.zeros_like(nodes)
        for target in range(graph.num_nodes):
            heard = [(source, relation) for source, relation, to in messages if to == target]
            if not heard:
                continue
            said = torch.stack([_said(encoder, nodes[u], encoder.relations[r]) for u, r in heard])
            norm = torch.stack([(degree[source] * degree[target]) ** -0.5 for source, _ in heard])
            if isinstance(encoder.rule, AttentionRule):
                query, key = encoder.rule.query.weight, encoder.rule.key.weight
                pulls = [(query @ nodes[target]) @ torch.tanh(key @ one) / 6**0.5 for one in said]
                norm = torch.softmax(torch.stack(pulls), 0)
            told[target] = (norm.unsqueeze(1) * said).sum(dim=0)
        if isinstance(encoder.rule, BasisRule):
            told = torch.tanh(told + nodes @ encoder.rule.own) * (degree > 0).unsqueeze(1)
        nodes = told
        total = total + nodes[: graph.num_items]
    return total / encoder.num_layers


@pytest.mark.parametrize("rule", RULES)
def test_knowledge_encoder_equals_one_message_at_a_time(rule: str) -> None:
    knowledge = _random_graph()
    graph = RelationalGraph.of(knowledge, min_entity_degree=1)
    encoder, items = _encoder(graph, rule=rule), torch.randn(graph.num_items, 6)
    actual = encoder(items, torch.ones(graph.num_edges))
    torch.testing.assert_close(actual, _dense_reference(knowledge, encoder, items))


@pytest.mark.parametrize("rule", RULES)
def test_knowledge_encoder_gradients_equal_the_reference(rule: str) -> None:
    knowledge = _random_graph(1)
    graph = RelationalGraph.of(knowledge, min_entity_degree=1)
    encoder = _encoder(graph, rule=rule)
    items = torch.randn(graph.num_items, 6, requires_grad=True)
    wanted = [items, encoder.entities, encoder.relations, *encoder.rule.parameters()]
    weight = torch.randn(graph.num_items, 6)
    actual = torch.autograd.grad(
        (encoder(items, torch.ones(graph.num_edges)) * weight).sum(), wanted
    )
    expected = torch.autograd.grad(
        (_dense_reference(knowledge, encoder, items) * weight).sum(), wanted
    )
    for mine, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)


def test_one_layer_equals_torch_geometric_message_passing() -> None:
    geometric = pytest.importorskip("torch_geometric")
    knowledge = _random_graph(2)
    graph = RelationalGraph.of(knowledge, min_entity_degree=1)
    encoder = _encoder(graph, layers=1)

    layer = geometric.nn.SimpleConv(aggr="add")
    items = torch.randn(graph.num_items, 6)
    nodes = torch.cat([items, encoder.entities])
    data = hetero_data(graph)
    together = data.to_homogeneous(add_edge_type=True)
    degree = torch.bincount(together.edge_index[1], minlength=graph.num_nodes).float()
    expected = torch.zeros_like(nodes)
    for number, (_, name, _) in enumerate(data.edge_types):
        edges = together.edge_index[:, together.edge_type == number]
        norm = (degree[edges[0]] * degree[edges[1]]).rsqrt()
        relation = encoder.relations[int(name.removeprefix("relation_"))]
        expected = expected + layer(nodes * relation, edges, edge_weight=norm)
    actual = encoder(items, torch.ones(graph.num_edges))
    torch.testing.assert_close(actual, expected[: graph.num_items])


def test_hetero_data_holds_every_message_once() -> None:
    graph = RelationalGraph.of(_random_graph(), min_entity_degree=1)
    data = hetero_data(graph)
    assert data["item"].num_nodes + data["entity"].num_nodes == graph.num_nodes
    assert sum(data[kind].edge_index.shape[1] for kind in data.edge_types) == graph.num_edges


def test_relational_graph_leaves_out_entities_of_one_triple() -> None:
    train = planted()
    everything = RelationalGraph.of(train.graph, min_entity_degree=1)
    alone = np.append(train.graph.tail, train.graph.num_entities)
    lonely = KnowledgeGraph(
        **{
            **vars(train.graph),
            "entity_ids": np.append(train.graph.entity_ids, "lonely"),
            "entity_types": np.append(train.graph.entity_types, "maker"),
            "entity_names": np.append(train.graph.entity_names, "Lonely"),
            "head": np.append(train.graph.head, 0),
            "relation": np.append(train.graph.relation, 0),
            "tail": alone,
        }
    )
    pruned = RelationalGraph.of(lonely, min_entity_degree=2)
    assert pruned.num_nodes == everything.num_nodes
    assert pruned.num_edges == everything.num_edges
    assert RelationalGraph.of(lonely, min_entity_degree=1).num_edges == everything.num_edges + 2


def test_graph_without_triples_says_nothing() -> None:
    graph = RelationalGraph.of(planted(triples=False).graph)
    assert graph.num_edges == 0
    message = _encoder(graph)(torch.randn(NUM_ITEMS, 6), torch.ones(0))
    assert (message == 0).all()


def test_foretelling_triples_learns_which_entity_an_item_has() -> None:
    graph = RelationalGraph.of(planted().graph)
    encoder, items = _encoder(graph), torch.nn.Parameter(torch.randn(NUM_ITEMS, 6))
    optimiser = torch.optim.Adam([items, *encoder.parameters()], lr=0.05)
    first = float(encoder.link_loss(items, 256).detach())
    for _ in range(60):
        optimiser.zero_grad()
        encoder.link_loss(items, 256).backward()
        optimiser.step()
    assert float(encoder.link_loss(items, 256).detach()) < 0.7 * first


@pytest.mark.parametrize("rule", RULES)
def test_left_out_edges_carry_nothing(rule: str) -> None:
    graph = RelationalGraph.of(planted().graph)
    encoder = _encoder(graph, rule=rule)
    message = encoder(torch.randn(NUM_ITEMS, 6), torch.zeros(graph.num_edges))
    assert (message == 0).all()


def test_interaction_encoder_equals_dense_product() -> None:
    train = planted()
    positives = train.interactions.positives()
    encoder = InteractionEncoder(positives, train.num_users, train.num_items)
    kept = (torch.rand(len(positives)) < 0.7).float()
    matrix = torch.zeros(train.num_users, train.num_items)
    matrix[positives.user_idx, positives.item_idx] = kept
    users, items = matrix.sum(1).clamp_min(1e-12), matrix.sum(0).clamp_min(1e-12)
    normal = matrix * users.rsqrt()[:, None] * items.rsqrt()
    features = torch.randn(train.num_items, 6)
    torch.testing.assert_close(encoder(features, kept), normal.T @ (normal @ features))


def test_interaction_encoder_without_a_users_edges_does_not_know_them() -> None:
    """The edges hidden in a step carry nothing: another item's vector cannot reach through."""
    train = planted()
    positives = train.interactions.positives()
    encoder = InteractionEncoder(positives, train.num_users, train.num_items)
    user = positives.user_idx == 0
    kept = torch.from_numpy((~user).astype(np.float32))
    features = torch.randn(train.num_items, 6)
    hidden = encoder(features, kept)
    absent = InteractionEncoder(positives.take(~user), train.num_users, train.num_items)
    torch.testing.assert_close(hidden, absent(features, torch.ones(int((~user).sum()))))
