"""The towers as they stand at one look: what validation is asked of, and what ranks highest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import IntArray
from kgrec.models.hybrid import TwoTowers
from kgrec.models.user_tower import UserInputs

_BLOCK_SCORES = 1 << 25  # scores that lie in memory at once: 128 MB


class Look:
    """Item vectors and user weights of a model, kept while the model itself goes on learning.

    Args:
        model: The towers with the weights to be kept.
    """

    def __init__(self, model: TwoTowers) -> None:
        model.eval()
        self.vectors, self.bias = model.all_items()
        model.train()
        self._model = model
        self._weights = {
            name: weight.detach().clone() for name, weight in model.users.named_parameters()
        }

    @torch.no_grad()
    def scores(self, histories: HistoryBatch) -> Tensor:
        """Return the score of every item, shape (B, num_items), nothing masked."""
        users, config = self._model.users, self._model.config
        inputs = UserInputs.of(histories, len(self.vectors), config).to(self._model.device)
        users.eval()
        found = torch.func.functional_call(users, self._weights, (inputs, self.vectors))
        users.train()
        scores: Tensor = found @ self.vectors.T / config.temperature + self.bias
        return scores

    def best(self, histories: HistoryBatch, count: int) -> IntArray:
        """Return the items that rank among the ``count`` best of any history that lacks them.

        Returns:
            Shape (n,), int64, ascending, each once; n is at most B * count.
        """
        num_items = len(self.vectors)
        count = min(count, num_items)
        found = []
        for block in histories.batches(max(_BLOCK_SCORES // num_items, 1)):
            scores = self.scores(block)
            rows, items = (torch.from_numpy(a) for a in (block.row_of_event, block.item_idx))
            scores[rows.to(scores.device), items.to(scores.device)] = -torch.inf
            top = scores.topk(count, dim=1)
            found.append(top.indices[top.values > -torch.inf].cpu().numpy())
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))
