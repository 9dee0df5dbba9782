"""Extractors that are trained on this machine from a marked corpus that ships with the package.

Weights are not shipped: the first use trains them, minutes on two cores, and keeps them in the
cache under a digest of all that they follow from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path

from graph_etl.extraction.corpora import corpus_path, corpus_schema, load_corpus
from graph_etl.extraction.run import Progress
from graph_etl.table_config import SHIPPED

# The settings were chosen on a tenth of the training part; the gold part was not looked at.
_SETTINGS = {"epochs": 20, "final_fit": False, "seed": 0}


def model_folder(model: str, progress: Progress) -> Path:
    """Return the folder of a trained extractor.

    Args:
        model: A path, or "corpus:NAME": trained from that corpus at the first use.
        progress: Told how far a training is.

    Raises:
        ConfigError: There is no such corpus.
        FetchError: The encoder that a training starts from cannot be had.
    """
    if not model.startswith(SHIPPED):
        return Path(model)
    return trained_from_corpus(model.removeprefix(SHIPPED), progress)


def trained_from_corpus(name: str, progress: Progress) -> Path:
    """Return the folder of the extractor that a corpus' training part gives; train it if needed.

    Of several processes one trains, the others wait for it: two trainings would differ in their
    last bits, and every text would be asked about anew.
    """
    from graph_etl.extraction.bert import TrainConfig, train_extractor
    from graph_etl.fetch import RESOURCES, cache_dir

    config = TrainConfig(**_SETTINGS)
    follows_from = [
        corpus_path(name, "train.jsonl").read_text(encoding="utf-8"),
        corpus_path(name, "graph_schema.yaml").read_text(encoding="utf-8"),
        config.model_dump(mode="json"),
        RESOURCES["minilm"].sha256,
    ]
    digest = hashlib.sha256(json.dumps(follows_from).encode()).hexdigest()
    out = cache_dir() / "extractors" / f"{name}-{digest[:12]}"
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not out.is_dir():
            train_extractor(
                load_corpus(name, "train"),
                [],
                config,
                out,
                schema=corpus_schema(name),
                progress=lambda what: progress(f"training an extractor on the {name}: {what}", 0.0),
            )
    return out
