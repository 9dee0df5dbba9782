"""One vector of an item out of those that are known of it, by attention; gates are item_tower.py's.

Also says which of them a training step leaves out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROWS = 100_000  # items fused at a time where no gradient is wanted


class AttentionFusion(nn.Module):
    """Self-attention among the modalities of one item, and a learned query over what comes out.

    y_m = h_m + O sum_n softmax_n(q_m . k_n / sqrt(d)) v_n over the modalities n that are there,
    q, k and v linear in h_m + e_m with e_m the modality's own vector, in up to four heads; then
    z = sum_m softmax_m(s . (y_m + e_m)) y_m. O and s start at zero, so that training starts from
    the mean of what is there, as the gated sum does. Attention as in Vaswani et al. 2017; the
    query as in Set Transformers' pooling (Lee et al. 2019), without their feed-forward layers.

    Args:
        dim: Length of all vectors.
        count: Modalities there can be.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in (4, 2, 1) if dim % heads == 0)
        self.kinds = nn.Parameter(torch.randn(count, dim) * 0.1)
        self.read = nn.Linear(dim, 3 * dim)
        self.told = nn.Linear(dim, dim)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(self, parts: list[Tensor], present: Tensor) -> Tensor:
        """Return one vector an item, shape (num_items, dim).

        Args:
            parts: For each modality, shape (num_items, dim).
            present: Shape (num_items, count), 0 where an item has none; one at least is there.
        """
        if torch.is_grad_enabled():
            return self._fused(torch.stack(parts, dim=1), present)
        fused = []
        for start in range(0, max(len(present), 1), _ROWS):
            rows = slice(start, start + _ROWS)
            fused.append(self._fused(torch.stack([p[rows] for p in parts], dim=1), present[rows]))
        return torch.cat(fused)

    def _fused(self, tokens: Tensor, present: Tensor) -> Tensor:
        # n: items, m: modalities, h: heads, d: dim / heads
        absent = present == 0  # (n, m)
        size, count, dim = tokens.shape
        parts = self.read(tokens + self.kinds).view(size, count, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (n, h, m, d) each
        pull = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5  # (n, h, m, m)
        share = torch.softmax(pull.masked_fill(absent[:, None, None], -1e9), dim=-1)
        heard = (share @ value).transpose(1, 2).reshape(size, count, dim)
        tokens = tokens + self.told(heard)  # (n, m, dim)
        weight = ((tokens + self.kinds) @ self.query).masked_fill(absent, -1e9)
        fused: Tensor = torch.einsum("nm,nmd->nd", torch.softmax(weight, dim=1), tokens)
        return fused


def drawn_modalities(present: Tensor, share: float) -> Tensor:
    """Return which of an item's modalities stay in a training step, float32, as ``present``.

    Each is left out with probability ``share``, but for the one with the largest draw.

    Args:
        present: Shape (num_items, count), 0 where an item has none.
        share: In 0..1.
    """
    draws = torch.rand_like(present).masked_fill(present == 0, -1.0)
    stays = (draws >= share).scatter(1, draws.argmax(dim=1, keepdim=True), True)
    return present * stays
