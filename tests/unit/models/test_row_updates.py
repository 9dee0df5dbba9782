"""Adam and the running mean of tables, of which a step touches few rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kgrec.models.graph_part import rows_of
from kgrec.models.row_updates import RowAdam, RunningMean


class _Tables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(12, 4, generator=generator))
        self.dense = nn.Parameter(torch.randn(4, 3, generator=generator))

    def loss(self, rows: Tensor) -> Tensor:
        return (torch.tanh(rows_of(self.table, rows) @ self.dense) - 0.3).square().sum()


def _rows(step: int) -> Tensor:
    return torch.randperm(12, generator=torch.Generator().manual_seed(step))[:3]


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_row_adam_is_adam_where_every_row_is_used(l2: float) -> None:
    ours, other = _Tables(), _Tables()
    rows = RowAdam(ours.parameters(), lr=0.05, weight_decay=l2)
    whole = torch.optim.Adam(other.parameters(), lr=0.05, weight_decay=l2)
    for _ in range(20):
        for model, optimiser in ((ours, rows), (other, whole)):
            optimiser.zero_grad()
            model.loss(torch.arange(12)).backward()
            if optimiser is whole:
                assert other.table.grad is not None
                other.table.grad = other.table.grad.to_dense()
            optimiser.step()
    torch.testing.assert_close(ours.table, other.table)
    torch.testing.assert_close(ours.dense, other.dense)


def test_row_adam_is_sparse_adam_on_the_rows_used() -> None:
    ours, other = _Tables(), _Tables()
    rows = RowAdam(ours.parameters(), lr=0.05)
    sparse = torch.optim.SparseAdam([other.table], lr=0.05)
    dense = torch.optim.Adam([other.dense], lr=0.05)
    for step in range(20):
        for model, optimisers in ((ours, [rows]), (other, [sparse, dense])):
            model.zero_grad()
            model.loss(_rows(step)).backward()
            for optimiser in optimisers:
                optimiser.step()
    torch.testing.assert_close(ours.table, other.table)
    torch.testing.assert_close(ours.dense, other.dense)


def test_row_adam_leaves_other_rows_alone() -> None:
    model = _Tables()
    before = model.table.detach().clone()
    optimiser = RowAdam(model.parameters(), lr=0.05, weight_decay=0.1)
    model.loss(torch.tensor([2, 5])).backward()
    optimiser.step()
    changed = (model.table != before).any(dim=1).nonzero()[:, 0]
    assert changed.tolist() == [2, 5]


@pytest.mark.parametrize("decay", [0.0, 0.8, 0.95])
def test_running_mean_by_rows_is_the_one_over_all_rows(decay: float) -> None:
    model = _Tables()
    optimiser = RowAdam(model.parameters(), lr=0.05)
    mean = RunningMean(model, decay)
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for step in range(1, 31):
        optimiser.zero_grad()
        model.loss(_rows(step)).backward()
        mean.before(step)
        optimiser.step()
        mean.after(step)
        for name, weight in model.named_parameters():
            expected[name].lerp_(weight.detach(), 1 - min(decay, step / (step + 9)))
        if step in (7, 30):
            for name, value in mean.whole(step).items():
                torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    kept = {name: value.clone() for name, value in mean.whole(30).items()}
    later = RunningMean(model, decay)
    later.load(kept, 30)
    for one in (mean, later):
        one.before(31)
        one.after(31)
    for name, value in mean.whole(31).items():
        torch.testing.assert_close(value, later.whole(31)[name])
