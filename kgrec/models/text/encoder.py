"""BERT text encoder with a file cache; the one place where transformers is imported.

Fine-tuning (finetuning.py), and what a model makes of the vectors, are left to others.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file

from kgrec.errors import ConfigError, MissingDependencyError

FloatArray = npt.NDArray[np.float32]

POOLING = "mean-of-tokens, unit length"


class TextEncoder:
    """Texts to vectors: mean of the last layer over the text's tokens, scaled to unit length.

    Vectors are cached in files by the content of model and text, so that a text is encoded once
    for all runs. The model is read only when a text is missing from the cache.

    Args:
        model: Folder made for ``from_pretrained`` (config.json, weights, tokenizer), or the hub
            name of a BERT model. A name is looked up locally where HF_HUB_OFFLINE is set.
        cache_dir: Folder of cached vectors; None for ``default_cache_dir()``.
        max_tokens: Word pieces read of each text.
        batch_size: Texts in a forward pass; they are ordered by length, so that little is padding.
        device: Torch device of the forward passes.
    """

    def __init__(
        self,
        model: str | Path,
        cache_dir: Path | None = None,
        max_tokens: int = 128,
        batch_size: int = 64,
        device: str = "cpu",
    ) -> None:
        self.model = str(model)
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.bfloat16 = bfloat16_helps(self.device)
        self._loaded: tuple[Any, Any] | None = None
        self.identity = self._model_identity()
        self.cache_dir = (cache_dir or default_cache_dir()) / "text" / self.identity[:32]

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of texts, shape (len(texts), dim), float32, unit length.

        Empty or blank texts get a zero row: nothing is known, and nothing is made up.
        """
        keys = [_key(text) if text.strip() else "" for text in texts]
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key}
        found = self._cached(set(wanted))
        missing = {key: text for key, text in wanted.items() if key not in found}
        if missing:
            vectors = self._encode_now(list(missing.values()))
            self._store(list(missing), vectors)
            found.update(zip(missing, vectors, strict=True))
        dim = len(next(iter(found.values()))) if found else self.dim
        encoded = np.zeros((len(texts), dim), dtype=np.float32)
        for row, key in enumerate(keys):
            if key:
                encoded[row] = found[key]
        return encoded

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return int(self._load()[1].config.hidden_size)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the vectors, for run records."""
        return {
            "model": self.model,
            "identity": self.identity,
            "pooling": POOLING,
            "max_tokens": self.max_tokens,
            "bfloat16": self.bfloat16,
        }

    def _model_identity(self) -> str:
        """Return a digest of weights (or name), pooling, precision and length: the cache's key."""
        digest = hashlib.sha256(f"{POOLING}|{self.max_tokens}|{self.bfloat16}".encode())
        folder = Path(self.model)
        if not folder.is_dir():
            digest.update(self.model.encode())
            return digest.hexdigest()
        files = sorted(
            file for file in folder.iterdir() if file.suffix in (".json", ".txt", ".safetensors")
        )
        if not any(file.name == "config.json" for file in files):
            raise ConfigError(
                f"Expected config.json in the encoder folder {folder}, found none; name the folder "
                "that holds the model's files, or a hub name"
            )
        for file in files:
            digest.update(file.name.encode())
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_bert(self.model, self.device)
        return self._loaded

    @torch.inference_mode()
    def _encode_now(self, texts: list[str]) -> FloatArray:
        tokenizer, model = self._load()
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(texts), self.batch_size):
            rows = order[start : start + self.batch_size]
            tokens = tokenizer(
                [texts[row] for row in rows],
                truncation=True,
                max_length=self.max_tokens,
                padding=True,
                return_tensors="pt",
            ).to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                hidden = model(**tokens).last_hidden_state
            vectors[rows] = unit_means(hidden, tokens["attention_mask"]).cpu().numpy()
        return vectors

    def _cached(self, keys: set[str]) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for shard in sorted(self.cache_dir.glob("*.safetensors")):
            content = load_file(shard)
            names = [bytes(row).hex() for row in content["keys"]]
            found.update(
                (name, content["vectors"][row]) for row, name in enumerate(names) if name in keys
            )
        return found

    def _store(self, keys: list[str], vectors: FloatArray) -> None:
        """Add a shard in one rename, so that a reader or a second writer never sees half of it."""
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        table = np.stack([np.frombuffer(bytes.fromhex(key), dtype=np.uint8) for key in keys])
        name = hashlib.sha256(table.tobytes()).hexdigest()[:32]
        handle, staging = tempfile.mkstemp(dir=self.cache_dir, suffix=".new")
        os.close(handle)
        try:
            save_file({"keys": table, "vectors": vectors}, staging)
            Path(staging).replace(self.cache_dir / f"{name}.safetensors")
        finally:
            Path(staging).unlink(missing_ok=True)


def default_cache_dir() -> Path:
    """Return KGREC_CACHE_DIR, else kgrec below XDG_CACHE_HOME, else ~/.cache/kgrec."""
    chosen = os.environ.get("KGREC_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kgrec"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unit_means(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over each text's tokens at unit length, shape (n, dim), float32.

    Args:
        hidden: Shape (n, num_tokens, dim), the last layer.
        attention_mask: Shape (n, num_tokens), 0 for padding.
    """
    mask = attention_mask.unsqueeze(2).to(torch.float32)
    mean = (hidden.float() * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(mean, dim=1)


def bfloat16_helps(device: torch.device) -> bool:
    """Return whether bfloat16 products run in hardware; emulated ones are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # its functions carry no types
    bars = logging.is_progress_bar_enabled()
    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_bert(model: str, device: torch.device, *, with_word_head: bool = False) -> tuple[Any, Any]:
    """Return tokenizer and model, in evaluation mode.

    Args:
        model: Folder or hub name.
        device: Where the model goes.
        with_word_head: With the layer that foretells masked words; new where the folder has none.

    Raises:
        ConfigError: There is none, or it is damaged.
        MissingDependencyError: transformers is not installed.
    """
    try:
        from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the library transformers for the text encoder, found none; "
            "install it with: pip install transformers"
        ) from error
    local = Path(model).is_dir()
    kind = AutoModelForMaskedLM if with_word_head else AutoModel
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local)
            bert = kind.from_pretrained(model, local_files_only=local, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Expected a BERT encoder at '{model}', got: {error}; name a folder with its files "
            "('kgrec fetch' extracts one) or a hub name that can be reached"
        ) from error
    return tokenizer, bert.to(device).eval()
