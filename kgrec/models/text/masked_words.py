"""Adapting a BERT to a catalogue's language: foretelling masked word pieces of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.text.objectives import Objective
from kgrec.models.text.text_reader import TextReader


class MaskedObjective(Objective):
    """Word pieces are foretold from what surrounds them.

    Of the drawn pieces 80 % are masked, 10 % replaced by others and 10 % left.

    Args:
        reader: Its model learns.
        word_head: Token vectors to logits over the vocabulary; learns too.
        texts: Of the catalogue.
        config: masked_share, texts_per_step.

    Source: Devlin et al., BERT, 2019, section 3.1; only masked pieces go through the word head.
    """

    def __init__(
        self,
        reader: TextReader,
        word_head: nn.Module,
        texts: Sequence[str],
        config: FineTuningConfig,
    ) -> None:
        super().__init__()
        self.reader, self.word_head, self.config = reader, word_head, config
        self.texts = [text for text in texts if text.strip()]

    def loss(self, generator: np.random.Generator) -> Tensor:
        """Return the loss of one step."""
        size = min(self.config.texts_per_step, len(self.texts))
        drawn = generator.choice(len(self.texts), size=size, replace=False)
        tokens = self.reader.tokens([self.texts[number] for number in drawn])
        told, chosen = self._masked(tokens["input_ids"], generator)
        hidden = self.reader.bert(**{**tokens, "input_ids": told}).last_hidden_state
        logits = self.word_head(hidden[chosen]).float()
        return functional.cross_entropy(logits, tokens["input_ids"][chosen])

    def _masked(self, pieces: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the pieces as they are shown and which are asked for; at least one is."""
        tokenizer: Any = self.reader.tokenizer
        ids = pieces.cpu().numpy()
        open_ = ~np.isin(ids, tokenizer.all_special_ids)
        draw = generator.random(ids.shape)
        chosen = open_ & (draw < self.config.masked_share)
        if not chosen.any() and open_.any():
            chosen = open_ & (draw == draw[open_].min())
        fate = generator.random(ids.shape)
        others = generator.integers(0, len(tokenizer), ids.shape)
        told = np.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids)
        told = np.where(chosen & (fate >= 0.9), others, told)
        return (torch.from_numpy(part).to(pieces.device) for part in (told, chosen))  # type: ignore[return-value]
