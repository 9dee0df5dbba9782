"""Fine-tuning of a BERT on a catalogue and what users like there; it ends in a folder to load.

The folder is what TextEncoder reads; who may use vectors of which encoder is left to tuned.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graph_etl.snapshot import sync_folder
from kgrec.data.dataset import Items
from kgrec.data.interactions import Interactions
from kgrec.errors import ConfigError
from kgrec.models.fit_result import Progress
from kgrec.models.text.encoder import TextEncoder, load_bert, quiet_transformers
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.text.masked_words import MaskedObjective
from kgrec.models.text.objectives import (
    BehaviourObjective,
    LikesObjective,
    Objective,
    TitleObjective,
)
from kgrec.models.text.text_reader import TextReader
from kgrec.models.text.trained_weights import made_trainable, mixed_with, without_additions

RECORD = "finetuning.json"


def fine_tune(
    model: str | Path,
    items: Items,
    events: Interactions,
    config: FineTuningConfig,
    root: Path,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the encoder that learned from these texts and events.

    The folder's name is a digest of all that it depends on: what stands there is not learned
    again. It is written beside its place and renamed, and holds losses in ``finetuning.json``.

    Args:
        model: Folder or hub name of the base model.
        items: Titles and texts of the catalogue.
        events: What may be learned from.
        config: How; its mode is not frozen.
        root: Folder of tuned encoders.
        progress: Told of steps.

    Raises:
        ConfigError: The mode is frozen, the model cannot be read, or a loss is not finite.
        DataError: There is nothing to learn from.
    """
    if config.mode == "frozen":
        raise ConfigError(
            "Expected a mode in which weights learn (last_n, lora, full), got frozen; "
            "use the base model itself"
        )
    key = tuning_key(model, items, events, config)
    folder = root / key
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(config.seed)
        reader, record = _learn(str(model), items, events, config, root / f"{key}.ckpt", progress)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root))
    try:
        with quiet_transformers():
            reader.bert.save_pretrained(staging)
            reader.tokenizer.save_pretrained(staging)
        (staging / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        staging.chmod(0o755)
        staging.rename(folder)
        sync_folder(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def device_of(config: FineTuningConfig) -> torch.device:
    """Return the device that the settings name."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def tuning_key(
    model: str | Path, items: Items, events: Interactions, config: FineTuningConfig
) -> str:
    """Return a digest of the base model's weights, the texts, the settings and the events.

    Events do not count where the texts alone are learned from.
    """
    settings = config.model_dump(mode="json", exclude={"threads", "checkpoint_every_steps"})
    told: list[Any] = [TextEncoder(model).identity, settings]
    told += [[str(text) for text in column] for column in (items.titles, items.texts)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in (events.user_idx, events.item_idx, events.positive) if config.steps else ():
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]


def _learn(
    model: str,
    items: Items,
    events: Interactions,
    config: FineTuningConfig,
    checkpoint: Path,
    progress: Progress | None,
) -> tuple[TextReader, dict[str, Any]]:
    from kgrec.models.text.objective_training import train_objective  # Lightning takes seconds

    titles, texts = ([str(text) for text in part] for part in (items.titles, items.texts))
    tokenizer, bert, word_head = _loaded(model, config)
    base = {name: weight.clone() for name, weight in bert.state_dict().items()}
    reader = TextReader(tokenizer, made_trainable(bert, config), config.max_tokens)
    losses: dict[str, list[float]] = {}

    def train(objective: Objective, steps: int) -> None:
        name = type(objective).__name__.removesuffix("Objective").lower()
        file = checkpoint.with_suffix(f".{name}.ckpt")
        found = train_objective(objective, steps, config, device_of(config), file, progress)
        losses[name] = [round(loss, 4) for loss in found]

    if config.adapt == "masked":
        assert word_head is not None  # loaded for this
        train(MaskedObjective(reader, word_head, texts, config), config.adapt_steps)
    elif config.adapt == "contrastive":
        train(TitleObjective(reader, titles, texts, config), config.adapt_steps)
    if config.steps:
        kind = BehaviourObjective if config.objective == "behaviour" else LikesObjective
        train(kind(reader, texts, events, config), config.steps)
    reader.bert = without_additions(reader.bert)
    mixed_with(reader.bert, base, config.kept_share)
    record = {
        "base": TextEncoder(model).identity,
        "config": config.model_dump(mode="json", exclude={"threads", "checkpoint_every_steps"}),
        "num_events": len(events) if config.steps else 0,
        "num_items": len(texts),
        "losses": losses,
    }
    return reader, record


def _loaded(model: str, config: FineTuningConfig) -> tuple[Any, Any, nn.Module | None]:
    """Return tokenizer, model without a head and, where words are masked, the word head."""
    cpu = torch.device("cpu")
    if config.adapt != "masked":
        tokenizer, bert = load_bert(model, cpu)
        return tokenizer, bert, None
    tokenizer, whole = load_bert(model, cpu, with_word_head=True)
    if not hasattr(whole, "cls"):
        raise ConfigError(
            f"Expected a BERT with a layer that foretells words for adapt: masked, got "
            f"{type(whole).__name__} at '{model}'; say adapt: contrastive or off"
        )
    return tokenizer, whole.base_model, whole.cls
