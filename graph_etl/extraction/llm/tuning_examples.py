"""Labelled documents as token ids: the prompt that the engine will send, then the right answer.

How a model learns from them is tuning.py's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument
from graph_etl.extraction.llm.answers import compact_answer
from graph_etl.extraction.llm.prompt import messages_for, shown
from graph_etl.graph_schema import GraphSchema


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its answer.

    Attributes:
        ids: Token ids of both, the end-of-turn token last.
        answer_from: Place of the answer's first token.
    """

    ids: tuple[int, ...]
    answer_from: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded on the right to one length.

    Attributes:
        ids: Token ids. Shape (batch, length), int64.
        mask: 1 for tokens, 0 for padding. Shape (batch, length), int64.
        learned: Whether a token is part of an answer. Shape (batch, length), bool.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    learned: torch.Tensor

    def split(self, rows: int) -> Iterator[Batch]:
        """Yield batches of at most ``rows`` of its examples."""
        for start in range(0, len(self.ids), rows):
            part = slice(start, start + rows)
            yield Batch(self.ids[part], self.mask[part], self.learned[part])


def examples_of(
    gold: Sequence[GoldDocument], schema: GraphSchema, tokenizer: Any, max_tokens: int
) -> list[Example]:
    """Return an example for each document that fits into ``max_tokens``.

    Raises:
        DataError: No document fits, or the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise DataError(
            "Expected a model with a chat template, got none in its tokenizer; tune an "
            "instruction model, or add chat_template to its tokenizer_config.json"
        )
    found = []
    for one in gold:
        asked = messages_for(one.document, shown(one.document.text), schema, "compact")
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        # Tokenised apart, as when the model is asked: no token may span both.
        before = tokenizer(prompt, add_special_tokens=False).input_ids
        answer = tokenizer(compact_answer(one), add_special_tokens=False).input_ids
        ids = (*before, *answer, tokenizer.eos_token_id)
        if len(ids) <= max_tokens:
            found.append(Example(ids, len(before)))
    if not found:
        raise DataError(
            f"Expected labelled documents of at most {max_tokens} tokens with their answers, got "
            f"{len(gold)} and none so short; raise --max-tokens or cut the texts"
        )
    return found


def batches(
    examples: Sequence[Example], size: int, pad_id: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield all examples once, those of like length together, the batches in random order."""
    jitter = rng.uniform(0.9, 1.1, len(examples))
    order = np.argsort(
        [len(one.ids) * factor for one, factor in zip(examples, jitter, strict=True)]
    )
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    for place in rng.permutation(len(groups)):
        yield _padded([examples[at] for at in groups[place]], pad_id)


def _padded(examples: Sequence[Example], pad_id: int) -> Batch:
    length = max(len(one.ids) for one in examples)
    ids = torch.full((len(examples), length), pad_id)
    mask = torch.zeros_like(ids)
    learned = torch.zeros(ids.shape, dtype=torch.bool)
    for row, one in enumerate(examples):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        mask[row, : len(one.ids)] = 1
        learned[row, one.answer_from : len(one.ids)] = True
    return Batch(ids, mask, learned)
