"""A BERT under training: texts to the vectors that TextEncoder gives, with a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kgrec.models.text.encoder import unit_means

_TEXTS_PER_PASS = {"cpu": 32}  # elsewhere as many as there are: padding costs less than waiting


class TextReader(nn.Module):
    """Texts to unit means of the last layer.

    Args:
        tokenizer: Of the model.
        bert: Model without a head.
        max_tokens: Word pieces read of each text.
    """

    def __init__(self, tokenizer: Any, bert: Any, max_tokens: int) -> None:
        super().__init__()
        self.tokenizer, self.bert, self.max_tokens = tokenizer, bert, max_tokens

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return int(self.bert.config.hidden_size)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return vectors, shape (len(texts), dim), float32; read by length, to pad little."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        parts, size = [], _TEXTS_PER_PASS.get(self.bert.device.type, 512)
        for start in range(0, len(texts), size):
            tokens = self.tokens([texts[row] for row in order[start : start + size]])
            hidden = self.bert(**tokens).last_hidden_state
            parts.append(unit_means(hidden, tokens["attention_mask"]))
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def tokens(self, texts: Sequence[str]) -> Any:
        """Return what the model reads of some texts, padded to the longest."""
        return self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_tokens,
            padding=True,
            return_tensors="pt",
        ).to(self.bert.device)
