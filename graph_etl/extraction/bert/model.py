"""The network: BERT, a classifier of spans, a classifier of pairs of spans.

Dimensions: B windows, P word pieces, W words, K longest span in words, H width of the encoder,
D width of words (a map of the encoder's, and F numbers of their look) and of hidden layers, T
entity types, R relations, N pairs.

Source: Eberts and Ulges, Span-based Joint Entity and Relation Extraction with Transformer
Pre-training, ECAI 2020 (SpERT). As there: every span up to K words is classified from the maximum
over its tokens, its length and [CLS]; every pair from both spans and the maximum over the words
between them; relations are independent of each other. What differs: spans are of words, not word
pieces, and know their first and last word too; maxima are taken over a linear map of the words to
D numbers, which costs a fraction; classifiers have one hidden layer; pairs know the types of both
sides, their distance and [CLS]; only pairs and relations that the schema allows are asked; wrongly
seen mentions are among the pairs of training; words know what they look like, and tell an encoder
whose vocabulary hides it; the subject of a document, which its text need not name, is a side of
pairs too: a learned vector beside [CLS], with the mention's sentence as the context.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graph_etl.extraction.bert.config import ModelSettings
from graph_etl.extraction.bert.features import Batch
from graph_etl.extraction.bert.pairs import NO_SUBJECT, SUBJECT_IS_HEAD, SUBJECT_IS_TAIL, Pairs
from graph_etl.extraction.bert.windows import IntArray
from graph_etl.extraction.bert.words import NUM_FORMS

_DISTANCES = (0, 1, 2, 3, 5, 9, 17, 33)  # words between; the bucket is the last bound reached
_SENTENCES_APART = 3


class JointModel(nn.Module):
    """Scores of spans and of pairs.

    Args:
        encoder: A BERT of transformers.
        num_types: T.
        num_relations: R.
        settings: Sizes.
    """

    def __init__(
        self, encoder: Any, num_types: int, num_relations: int, settings: ModelSettings
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.settings = settings
        width, hidden, small = encoder.config.hidden_size, settings.hidden_dim, settings.feature_dim
        self.dropout = nn.Dropout(settings.dropout)
        self.forms = nn.Embedding(NUM_FORMS, small)
        if settings.forms_at_input:
            self.input_forms = nn.Embedding(NUM_FORMS + 1, width)
            nn.init.zeros_(self.input_forms.weight)  # the pretrained encoder starts undisturbed
        self.word = nn.Linear(width, hidden)
        self.window = nn.Linear(width, hidden)
        self.span_pool = nn.Linear(hidden + small, hidden)
        self.span_first = nn.Linear(hidden + small, hidden, bias=False)
        self.span_last = nn.Linear(hidden + small, hidden, bias=False)
        self.span_window = nn.Linear(hidden, hidden, bias=False)
        self.span_length = nn.Embedding(settings.max_span_words, hidden)
        nn.init.normal_(self.span_length.weight, std=0.02)
        self.span_out = nn.Linear(hidden, num_types + 1)
        with torch.no_grad():
            self.span_out.bias[0] = 4.0  # nearly all spans are no mention
        self.subject = nn.Parameter(torch.randn(hidden + small) * 0.02)
        self.head_type = nn.Embedding(num_types, small)
        self.tail_type = nn.Embedding(num_types, small)
        self.distance = nn.Embedding(2 * len(_DISTANCES) + 3, small)
        self.sentences_apart = nn.Embedding(_SENTENCES_APART, small)
        self.pair_hidden = nn.Linear(4 * hidden + 7 * small, hidden)
        self.pair_out = nn.Linear(hidden, max(num_relations, 1))  # never asked where there is none

    def embed(self, batch: Batch) -> Tensor:
        """Return what the encoder is given of each word piece, (B, P, H)."""
        embedded: Tensor = self.encoder.get_input_embeddings()(batch.piece_ids)
        if self.settings.forms_at_input:
            embedded = embedded + self.input_forms(batch.piece_forms)
        return embedded

    def encode(self, batch: Batch, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Return words (B, W, D), the maximum over their pieces, and windows (B, D), [CLS]."""
        hidden = self.encoder(
            inputs_embeds=embedded, attention_mask=batch.attention
        ).last_hidden_state  # (B, P, H)
        hidden = self.dropout(hidden)
        pieces = self.word(hidden).float()  # (B, P, D)
        longest = int((batch.end_piece - batch.first_piece).max())
        rows = torch.arange(len(hidden), device=hidden.device)[:, None].expand_as(batch.first_piece)
        words = range_max(pieces, rows, batch.first_piece, batch.end_piece, longest)
        words = torch.cat([words, self.forms(batch.forms)], dim=2)
        return words, self.window(hidden[:, 0]).float()

    def span_logits(self, words: Tensor, window: Tensor) -> Tensor:
        """Return scores of all spans, (B, W, K, T + 1), by first word and length - 1.

        Spans that reach into padding or beyond it are there too, for the caller to leave out.
        """
        first, last = self.span_first(words), self.span_last(words)  # (B, W, D)
        whole = self.span_window(window)[:, None]  # (B, 1, D)
        pooled, count, by_length = words, words.shape[1], []
        for more in range(min(self.settings.max_span_words, count)):
            if more:
                pooled = larger(pooled[:, :-1], words[:, more:])  # (B, W - more, D)
            hidden = self.span_pool(pooled) + first[:, : count - more] + last[:, more:]
            hidden = nn.functional.gelu(hidden + whole + self.span_length.weight[more])
            logits = _exactly(self.span_out, self.dropout(hidden))  # (B, W - more, T + 1)
            by_length.append(nn.functional.pad(logits, (0, 0, 0, more)))
        table = torch.stack(by_length, dim=2)
        missing = self.settings.max_span_words - table.shape[2]
        return nn.functional.pad(table, (0, 0, 0, missing))

    def pair_logits(self, words: Tensor, window: Tensor, batch: Batch, pairs: Pairs) -> Tensor:
        """Return scores of all relations for pairs, (N, R); the schema is not applied."""

        def moved(values: IntArray) -> Tensor:
            return torch.from_numpy(values).to(words.device, non_blocking=True)

        rows, subject = moved(pairs.window), moved(pairs.subject)
        spans = moved(pairs.head_span), moved(pairs.tail_span)
        sides, small = [], self.settings.feature_dim
        stands_for_subject = nn.functional.pad(window, (0, small)) + self.subject  # (B, D + F)
        for (first, last), side in zip(
            (span.unbind(1) for span in spans), (SUBJECT_IS_HEAD, SUBJECT_IS_TAIL), strict=True
        ):
            mention = range_max(words, rows, first, last + 1, self.settings.max_span_words)
            is_subject = (subject == side)[:, None]
            sides.append(torch.where(is_subject, stands_for_subject[rows], mention))  # (N, D)
        start = torch.minimum(spans[0][:, 1], spans[1][:, 1]) + 1
        end = torch.maximum(spans[0][:, 0], spans[1][:, 0])
        of_subject = subject != NO_SUBJECT
        start = torch.where(of_subject, batch.sentence_start[rows, spans[0][:, 0]], start)
        end = torch.where(of_subject, batch.sentence_end[rows, spans[0][:, 0]], end)
        context = range_max(words, rows, start, end, words.shape[1])  # (N, D)
        features = [
            self.head_type(moved(pairs.head_type)),
            self.tail_type(moved(pairs.tail_type)),
            self.distance(_distance_bucket(spans[0], spans[1], subject)),
            self.sentences_apart(_sentences_apart(batch, rows, spans[0], spans[1])),
        ]
        joined = torch.cat([*sides, context, window[rows], *features], dim=1)
        hidden = nn.functional.gelu(self.pair_hidden(joined))
        return _exactly(self.pair_out, self.dropout(hidden))


def _exactly(layer: nn.Linear, values: Tensor) -> Tensor:
    """Return a layer's output in float32: scores need more digits than bfloat16 has."""
    with torch.autocast(values.device.type, enabled=False):
        return nn.functional.linear(values.float(), layer.weight, layer.bias)


class _Larger(torch.autograd.Function):
    """The larger of two numbers; of equal ones the first gets the gradient.

    PyTorch's maximum shares the gradient of equal numbers, at three times the cost.
    """

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        chosen = first >= second
        ctx.save_for_backward(chosen)
        return torch.where(chosen, first, second)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (chosen,) = ctx.saved_tensors
        of_first = grad * chosen
        return of_first, grad - of_first


def larger(first: Tensor, second: Tensor) -> Tensor:
    """Return the larger of two numbers, elementwise."""
    if not torch.is_grad_enabled():
        return torch.maximum(first, second)
    found: Tensor = _Larger.apply(first, second)
    return found


def range_max(values: Tensor, rows: Tensor, starts: Tensor, ends: Tensor, longest: int) -> Tensor:
    """Return the maximum over ranges of positions; 0 where a range is empty.

    Tables of the maxima over 1, 2, 4, ... positions answer each range by two look-ups (a sparse
    table), so memory grows with the number of ranges and not with their lengths.

    Args:
        values: (B, L, D).
        rows: Which of B, any shape S.
        starts: Where ranges begin, shape S.
        ends: Where they end, that place excluded; a range is empty where it is not behind.
        longest: No range is longer.

    Returns:
        (S, D).
    """
    size, length, _ = values.shape
    levels = [values]
    while 2 ** len(levels) <= longest:
        reach = 2 ** (len(levels) - 1)
        before = levels[-1]
        if reach >= length:
            break
        both = larger(before[:, :-reach], before[:, reach:])
        levels.append(torch.cat([both, before[:, -reach:]], dim=1))
    table = torch.stack(levels).flatten(0, 2)  # (levels * B * L, D)
    lengths = (ends - starts).clamp(min=1)
    level = (torch.log2(lengths.float()) + 1e-4).floor().long().clamp(max=len(levels) - 1)
    base = (level * size + rows) * length
    left = base + starts.clamp(0, length - 1)
    right = base + (ends - 2**level).clamp(0, length - 1)
    found = larger(table.index_select(0, left.flatten()), table.index_select(0, right.flatten()))
    filled = (ends > starts).flatten()[:, None]
    return torch.where(filled, found, 0.0).reshape(*starts.shape, -1)


def _distance_bucket(head: Tensor, tail: Tensor, subject: Tensor) -> Tensor:
    """Return the bucket of words between, apart for both orders; of its own for the subject."""
    between = torch.maximum(head[:, 0], tail[:, 0]) - torch.minimum(head[:, 1], tail[:, 1]) - 1
    bounds = torch.tensor(_DISTANCES, device=head.device)
    bucket = torch.bucketize(between.clamp(min=0), bounds, right=True) - 1
    bucket = bucket + len(_DISTANCES) * (head[:, 0] > tail[:, 0])
    bucket = torch.where(between < 0, 2 * len(_DISTANCES), bucket)  # they overlap
    return torch.where(subject != NO_SUBJECT, 2 * len(_DISTANCES) + subject, bucket)


def _sentences_apart(batch: Batch, rows: Tensor, head: Tensor, tail: Tensor) -> Tensor:
    apart = batch.sentence[rows, head[:, 0]] - batch.sentence[rows, tail[:, 0]]
    return apart.abs().clamp(max=_SENTENCES_APART - 1)
