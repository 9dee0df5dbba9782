"""The BERT encoder and its tokenizer; the one place of graph_etl where transformers is imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graph_etl.errors import ConfigError, MissingDependencyError

_MAX_PIECES_OF_WORD = 16


class Pieces:
    """Word pieces of words, remembered, so that a word is cut only once.

    Args:
        tokenizer: A fast tokenizer with [CLS], [SEP], [PAD] and [UNK].
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        names = ("cls_token_id", "sep_token_id", "pad_token_id", "unk_token_id")
        ids = [getattr(tokenizer, name) for name in names]
        if None in ids:
            raise ConfigError(
                f"Expected a BERT tokenizer with [CLS], [SEP], [PAD] and [UNK], got none for "
                f"{names[ids.index(None)]}; use the tokenizer that the encoder was trained with"
            )
        self.cls, self.sep, self.pad, self.unknown = ids
        given = getattr(tokenizer, "mask_token_id", None)
        self.mask = self.unknown if given is None else given
        self._known: dict[str, tuple[int, ...]] = {}

    def learn(self, words: Iterable[str]) -> None:
        """Cut the words that are new, in one call."""
        new = list({word for word in words if word not in self._known})
        if len(self._known) + len(new) > 500_000:  # texts without end must not fill the memory
            self._known.clear()
        if new:
            # A lone surrogate has no UTF-8 form; the tokenizer sees a question mark.
            clean = [word.encode("utf-8", "replace").decode("utf-8") for word in new]
            cut = self.tokenizer(clean, add_special_tokens=False, return_attention_mask=False)
            for word, ids in zip(new, cut["input_ids"], strict=True):
                self._known[word] = tuple(ids[:_MAX_PIECES_OF_WORD]) or (self.unknown,)

    def of(self, word: str) -> tuple[int, ...]:
        """Return the ids of a word's pieces, at least one and at most 16."""
        if word not in self._known:
            self.learn([word])
        return self._known[word]


def pretrained(name: str) -> tuple[Any, nn.Module]:
    """Return tokenizer and encoder of a folder or hub name.

    Attention is plain products: for sentences that is faster on a CPU than the fused kernel, whose
    backward pass in bfloat16 took a third of a step.

    Raises:
        ConfigError: There is no BERT model there.
        MissingDependencyError: transformers is not installed.
    """
    transformers = _transformers()
    local = Path(name).is_dir()
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=local)
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=local)
            bert = transformers.AutoModel.from_pretrained(
                name, config=config, local_files_only=local, dtype=torch.float32, **_extra(config)
            )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"Expected a BERT encoder at '{name}', got: {error}; name a folder with its files or a "
            "hub name that can be reached"
        ) from error
    return tokenizer, bert


def _extra(config: Any) -> dict[str, Any]:
    """Return what else to say: plain attention, and no pooler, which nothing here uses."""
    plain = {"attn_implementation": "eager"}
    return plain | ({"add_pooling_layer": False} if config.model_type == "bert" else {})


def from_config(config: Mapping[str, Any]) -> nn.Module:
    """Return an encoder with random weights of a saved configuration."""
    transformers = _transformers()
    settings = dict(config)
    made = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    with quiet():
        model: nn.Module = transformers.AutoModel.from_config(made, **_extra(made))
    return model.float()


def tokenizer_of(folder: Path) -> Any:
    """Return the tokenizer that was saved in a folder."""
    with quiet():
        return _transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the library transformers for the BERT extractor, found none; "
            "install it with: pip install transformers"
        ) from error
    return transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars, load reports and advice off the terminal."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # its functions carry no types
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def bfloat16_helps(device: torch.device) -> bool:
    """Return whether bfloat16 products run in hardware; emulated ones are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
