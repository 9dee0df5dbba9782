"""What a text encoder learns from behaviour, and from titles; how it is trained is left to others.

Each objective draws its own steps: the same generator gives the same step, so that a fit resumes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.errors import DataError
from kgrec.models.baselines.svd import right_vectors
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.text.text_reader import TextReader

_USER_EXPONENT, _ITEM_EXPONENT = 0.3, 0.35  # those of the source content_ridge
_HEAD_TEXTS, _HEAD_RIDGE = 2000, 0.3  # the ridge is a share of the vectors' mean variance


class Objective(nn.Module):
    """Something to be learned, one loss a step."""

    def start(self, generator: np.random.Generator) -> None:
        """Prepare before the first step; the model is on its device, in evaluation mode."""

    @abstractmethod
    def loss(self, generator: np.random.Generator) -> Tensor:
        """Return the loss of one step, a scalar, whose texts ``generator`` draws."""


class BehaviourObjective(Objective):
    """A text foretells the behaviour vector of its item, told apart from those of the batch.

    With y_i the vector of item i in the normalised SVD of the likes, z_i = W v_i + b the vector of
    its text through a linear head, both of unit length, and a batch drawn with probability
    proportional to the square root of the items' likes: the mean of
    -log exp(z_i y_i / t) / sum_j exp(z_i y_j / t).

    Args:
        reader: Reads the texts.
        texts: num_items texts; empty ones are left out.
        events: Train events.
        config: factors, temperature, texts_per_step.

    Raises:
        DataError: Fewer than two items have both a text and a like.
    """

    def __init__(
        self,
        reader: TextReader,
        texts: Sequence[str],
        events: Interactions,
        config: FineTuningConfig,
    ) -> None:
        super().__init__()
        self.reader, self.texts, self.config = reader, texts, config
        behaviour = behaviour_vectors(events, len(texts), config.factors, config.seed)
        likes = np.bincount(events.positives().item_idx, minlength=len(texts))
        written = np.array([bool(text.strip()) for text in texts])
        self.items = _enough(np.flatnonzero(written & (likes > 0)))
        self.share = np.sqrt(likes[self.items]) / np.sqrt(likes[self.items]).sum()
        self.register_buffer("behaviour", torch.from_numpy(behaviour), persistent=False)
        self.behaviour: Tensor
        self.head = nn.Linear(reader.dim, behaviour.shape[1])

    @torch.no_grad()
    def start(self, generator: np.random.Generator) -> None:
        """Let the head begin with a ridge regression on the texts' present vectors.

        Source: Kumar et al., Fine-tuning can distort pretrained features, ICLR 2022: from a random
        head the first steps would move the encoder away from what it knows.
        """
        size = min(_HEAD_TEXTS, len(self.items))
        items = generator.choice(self.items, size=size, replace=False, p=self.share)
        vectors = self.reader([self.texts[item] for item in items]).double()
        targets = functional.normalize(self.behaviour[items], dim=1).double()
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        gram = centred.T @ centred
        gram.diagonal().add_(_HEAD_RIDGE * gram.diagonal().mean())
        weights = torch.linalg.solve(gram, centred.T @ targets)
        self.head.weight.copy_(weights.T)
        self.head.bias.copy_(targets.mean(dim=0) - mean @ weights)

    def loss(self, generator: np.random.Generator) -> Tensor:
        """Return the loss of one step."""
        size = min(self.config.texts_per_step, len(self.items))
        items = generator.choice(self.items, size=size, replace=False, p=self.share)
        vectors = self.head(self.reader([self.texts[item] for item in items]))
        return told_apart(
            functional.normalize(vectors, dim=1),
            functional.normalize(self.behaviour[items], dim=1),
            self.config.temperature,
        )


class LikesObjective(Objective):
    """The texts of a few of a user's liked items foretell the text of another one.

    With m_u the mean of the history's vectors and q_j the share of item j in all likes, for the
    candidates of the batch: -log softmax_j(m_u v_j / t - log q_j), the user's other likes masked.

    Args:
        reader: Reads the texts.
        texts: num_items texts; empty ones are left out.
        events: Train events.
        config: history_texts, temperature, texts_per_step.

    Source: Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", equation 3.

    Raises:
        DataError: No user likes two items with texts.
    """

    def __init__(
        self,
        reader: TextReader,
        texts: Sequence[str],
        events: Interactions,
        config: FineTuningConfig,
    ) -> None:
        super().__init__()
        self.reader, self.texts, self.config = reader, texts, config
        written = np.array([bool(text.strip()) for text in texts])
        likes = events.positives()
        likes = likes.take(written[likes.item_idx])
        users = int(likes.user_idx.max(initial=-1)) + 1
        self.likes = likes.matrix(users, len(texts))
        self.users = np.flatnonzero(np.diff(self.likes.indptr) >= 2)
        if not len(self.users):
            raise DataError(
                "Expected a user who likes two items with texts, got none; say mode: frozen"
            )
        share = np.bincount(likes.item_idx, minlength=len(texts)) / len(likes)
        self.log_q = np.log(np.maximum(share, 1e-12)).astype(np.float32)

    def loss(self, generator: np.random.Generator) -> Tensor:
        """Return the loss of one step."""
        number = max(2, self.config.texts_per_step // (self.config.history_texts + 1))
        users = generator.choice(self.users, size=number, replace=number > len(self.users))
        drawn = [self._drawn(user, generator) for user in users]
        read, place = np.unique(np.concatenate(drawn), return_inverse=True)
        vectors = self.reader([self.texts[item] for item in read])
        bounds = np.cumsum([0, *(len(items) for items in drawn)])
        targets = place[bounds[1:] - 1]
        history = torch.stack(
            [
                vectors[torch.from_numpy(place[start : stop - 1])].mean(dim=0)
                for start, stop in pairwise(bounds)
            ]
        )
        logits = history @ vectors.T / self.config.temperature
        logits = logits - torch.from_numpy(self.log_q[read]).to(logits.device)
        masked = np.asarray(self.likes[users][:, read].todense() > 0)
        masked[np.arange(number), targets] = False
        logits = logits.masked_fill(torch.from_numpy(masked).to(logits.device), -torch.inf)
        return functional.cross_entropy(logits, torch.from_numpy(targets).to(logits.device))

    def _drawn(self, user: int, generator: np.random.Generator) -> IntArray:
        own = self.likes.indices[self.likes.indptr[user] : self.likes.indptr[user + 1]]
        size = min(self.config.history_texts + 1, len(own))
        return np.asarray(generator.choice(own, size=size, replace=False), dtype=np.int64)


class TitleObjective(Objective):
    """A title finds its description among those of the batch, and the other way round.

    Args:
        reader: Reads the texts.
        titles: num_items titles.
        texts: num_items texts; a title at the beginning is cut off, and what has no text beside
            its title is left out.
        config: temperature, texts_per_step.

    Raises:
        DataError: Fewer than two items have both.
    """

    def __init__(
        self,
        reader: TextReader,
        titles: Sequence[str],
        texts: Sequence[str],
        config: FineTuningConfig,
    ) -> None:
        super().__init__()
        self.reader, self.config, self.titles = reader, config, titles
        self.rest = [
            text.removeprefix(title).strip(" .\n")
            for title, text in zip(titles, texts, strict=True)
        ]
        both = [bool(a.strip() and b) for a, b in zip(titles, self.rest, strict=True)]
        self.items = _enough(np.flatnonzero(both))

    def loss(self, generator: np.random.Generator) -> Tensor:
        """Return the loss of one step."""
        size = min(self.config.texts_per_step // 2, len(self.items))
        items = generator.choice(self.items, size=size, replace=False)
        vectors = self.reader([*(self.titles[i] for i in items), *(self.rest[i] for i in items)])
        titles, rest, t = vectors[:size], vectors[size:], self.config.temperature
        return (told_apart(titles, rest, t) + told_apart(rest, titles, t)) / 2


def told_apart(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax_j(left_i right_j / temperature) at j = i, a scalar.

    Args:
        left: Shape (n, dim), rows of unit length.
        right: The same; row i belongs to row i of ``left``.
        temperature: Above 0.
    """
    logits = left @ right.T / temperature
    return functional.cross_entropy(logits, torch.arange(len(left), device=left.device))


def behaviour_vectors(events: Interactions, num_items: int, factors: int, seed: int) -> FloatArray:
    """Return the items' vectors in the normalised SVD of the likes, shape (num_items, k), float32.

    Rows of items without a like say nothing; k <= factors.
    """
    users = int(events.user_idx.max(initial=-1)) + 1
    likes = events.positives().matrix(users, num_items)
    by_user = np.maximum(np.diff(likes.indptr), 1.0) ** -_USER_EXPONENT
    by_item = np.maximum(np.bincount(likes.indices, minlength=num_items), 1.0) ** -_ITEM_EXPONENT
    likes.data = by_user[likes.nonzero()[0]] * by_item[likes.indices]
    likes = likes.astype(np.float64)
    directions = right_vectors(likes, factors, seed)
    strength = np.sqrt(np.square(likes @ directions).sum(axis=0))
    return np.asarray(directions * strength, dtype=np.float32)


def _enough(items: IntArray) -> IntArray:
    if len(items) < 2:
        raise DataError(
            f"Expected two items with texts that there is something to learn of, got {len(items)}; "
            "say mode: frozen"
        )
    return items
