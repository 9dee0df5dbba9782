"""The fine-tuned BERT as an Extractor: texts through a trained model, in large batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch

from graph_etl.errors import ConfigError
from graph_etl.extraction.bert.artifact import SavedModel, load_model
from graph_etl.extraction.bert.reading import Reader
from graph_etl.extraction.extractor import Extractor, Request
from graph_etl.extraction.records import Answer, Extraction

ANSWER_VERSION = 3
"""Rises when the same weights would answer otherwise: words, windows, decoding."""


class BertExtractor(Extractor):
    """A trained extractor; the same text always gets the same answer.

    It says only what stands in the text: a mention is a range of words, a relation joins two of
    them, or one and the document's subject, by a pattern of the schema it was trained with.

    Args:
        folder: Folder that ``train_extractor`` wrote.
        batch_documents: Documents whose windows are sorted by length and read together.
        device: "auto", "cpu" or "cuda".
        runtime: What runs the encoder; "onnx" on the CPU alone.

    Raises:
        ExtractionError: The folder holds no trained extractor, or a damaged one.
        ConfigError: There is no such device, or not for this runtime.
        MissingDependencyError: A library of the runtime is not installed.
    """

    engine = "bert"

    def __init__(
        self,
        folder: str | Path,
        *,
        batch_documents: int = 256,
        device: str = "auto",
        runtime: Literal["torch", "onnx"] = "torch",
    ) -> None:
        saved = load_model(Path(folder))
        self._reader = saved.reader
        if runtime == "onnx":
            self._reader = _in_onnx(saved, device)
        else:
            self._reader.model.to(_device(device))
        self._batch_documents = batch_documents
        self.threshold = saved.threshold
        self.schema = saved.reader.labels.schema
        self.model = f"{saved.encoder}:{saved.weights_sha256[:12]}"
        digest = hashlib.sha256()
        for part in (
            ANSWER_VERSION,
            saved.weights_sha256,
            saved.threshold,
            self.schema.model_dump(),
            saved.reader.model.settings.model_dump(),
        ):
            digest.update(json.dumps(part, sort_keys=True).encode())
        self._fingerprint = digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """Digest of weights, threshold, schema and settings."""
        return self._fingerprint

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Yield one answer for each request, in order; a text without a word has an empty one."""
        for start in range(0, len(requests), self._batch_documents):
            documents = [one.document for one in requests[start : start + self._batch_documents]]
            for extraction in self._reader.extract(documents, self.threshold):
                yield Answer(extraction.doc_id, _raw(extraction), extraction)


def _raw(extraction: Extraction) -> str:
    """Return what the model said, before validation, as JSON."""
    said = {
        "mentions": [list(asdict(one).values()) for one in extraction.mentions],
        "triples": [list(asdict(one).values()) for one in extraction.triples],
    }
    return json.dumps(said, separators=(",", ":"))


def _in_onnx(saved: SavedModel, device: str) -> Reader:
    from graph_etl.extraction.bert.onnx_encoder import onnx_encoder

    if device not in ("auto", "cpu"):
        raise ConfigError(f"Expected the device 'cpu' with the runtime 'onnx', got '{device}'")
    model = saved.reader.model
    model.encoder = onnx_encoder(model.encoder, saved.weights_sha256)
    return replace(saved.reader, bfloat16=False)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"Expected the device 'auto', 'cpu' or 'cuda', got '{name}'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("Expected a CUDA device, found none; use the device 'cpu' or 'auto'")
    return device
