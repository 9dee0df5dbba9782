"""What is known of an item as one vector by attention, and what a step leaves out of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kgrec.models import fusion
from kgrec.models.fusion import AttentionFusion, drawn_modalities

ITEMS, COUNT, DIM = 30, 5, 16


def made(dim: int = DIM) -> tuple[AttentionFusion, list[Tensor], Tensor]:
    """A fusion of which no weight is zero, and what some items have."""
    torch.manual_seed(0)
    fused = AttentionFusion(dim, COUNT)
    with torch.no_grad():
        for weight in fused.parameters():
            weight.normal_(std=0.5)
    present = (torch.rand(ITEMS, COUNT) < 0.6).float()
    present[:, 2] = 1.0
    return fused, [torch.randn(ITEMS, dim) for _ in range(COUNT)], present


def reference(fused: AttentionFusion, parts: list[Tensor], present: Tensor) -> Tensor:
    """Torch's own attention, an item at a time, over those modalities alone that it has."""
    torch_attention = nn.MultiheadAttention(DIM, fused.heads, batch_first=True)
    torch_attention.load_state_dict(
        {
            "in_proj_weight": fused.read.weight,
            "in_proj_bias": fused.read.bias,
            "out_proj.weight": fused.told.weight,
            "out_proj.bias": fused.told.bias,
        }
    )
    rows = []
    for item in range(ITEMS):
        there = present[item].nonzero()[:, 0]
        tokens = torch.stack([parts[kind][item] for kind in there])
        asked = (tokens + fused.kinds[there]).unsqueeze(0)
        tokens = tokens + torch_attention(asked, asked, asked, need_weights=False)[0][0]
        weight = torch.softmax((tokens + fused.kinds[there]) @ fused.query, dim=0)
        rows.append(weight @ tokens)
    return torch.stack(rows)


def test_attention_equals_torchs_over_what_is_there() -> None:
    fused, parts, present = made()
    torch.testing.assert_close(
        fused(parts, present), reference(fused, parts, present), rtol=1e-4, atol=1e-5
    )


def test_what_is_not_there_counts_for_nothing() -> None:
    fused, parts, present = made()
    others = [torch.where(present[:, [m]] == 1, part, 7.0) for m, part in enumerate(parts)]
    torch.testing.assert_close(fused(others, present), fused(parts, present))


def test_training_starts_from_the_mean_of_what_is_there() -> None:
    _, parts, present = made()
    mean = (torch.stack(parts, dim=1) * present.unsqueeze(2)).sum(dim=1)
    mean = mean / present.sum(dim=1, keepdim=True)
    torch.testing.assert_close(AttentionFusion(DIM, COUNT)(parts, present), mean)


def test_blocks_of_items_give_what_all_together_do(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, parts, present = made()
    expected = fused(parts, present).detach()
    monkeypatch.setattr(fusion, "_ROWS", 7)
    with torch.no_grad():
        torch.testing.assert_close(fused(parts, present), expected)
        assert fused([part[:0] for part in parts], present[:0]).shape == (0, DIM)


@pytest.mark.parametrize(("dim", "heads"), [(64, 4), (6, 2), (15, 1)])
def test_heads_divide_the_vector(dim: int, heads: int) -> None:
    fused, parts, present = made(dim)
    assert fused.heads == heads
    assert fused(parts, present).shape == (ITEMS, dim)


def test_a_part_is_left_out_as_often_as_is_said_and_never_the_last() -> None:
    torch.manual_seed(0)
    share, size = 0.5, 40_000
    present = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]).repeat(size, 1)
    stays = drawn_modalities(present, share)
    assert (stays <= present).all()
    assert (stays.sum(dim=1) >= 1).all()
    left_out = 1 - stays[::2, :3].mean(dim=0)
    # below the share by the times when it is the largest of three draws that are all below
    expected = share - share**3 / 3
    assert (left_out - expected).abs().max() < 4 * (0.25 / size) ** 0.5
