"""Labelled documents to a tuned model in its folder: the one entry point of tuning.

    OUT/model/       safetensors, config and tokenizer, for ``from_pretrained``, vLLM and others
    OUT/NAME.gguf    the same for llama.cpp's server; where the tuning began with a GGUF
    OUT/tuning.json  what was done: settings, base, examples, losses

NAME is the folder's own; the server calls the model so.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument, schema_of_gold
from graph_etl.extraction.llm.tuned_model import load_model, save_gguf, save_model
from graph_etl.extraction.llm.tuning import Progress, TuneConfig, mean_loss, tune
from graph_etl.extraction.llm.tuning_examples import Example, examples_of
from graph_etl.fetch import fetch
from graph_etl.graph_schema import GraphSchema
from graph_etl.llm_server.local import DEFAULT_MODEL
from graph_etl.snapshot import sha256_of

_CURVE = "curve.json"


def tune_llm(
    train: Sequence[GoldDocument],
    dev: Sequence[GoldDocument],
    config: TuneConfig,
    out: Path,
    *,
    base: Path | None = None,
    schema: GraphSchema | None = None,
    each_epoch: bool = False,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Tune a model and return what stands in OUT/tuning.json.

    A tuning that was killed goes on from its last checkpoint when it is started again with the
    same labels, settings and folder.

    Args:
        train: Labelled documents, by people or by a larger model (gold.gold_of).
        dev: Others, whose loss is told after each epoch; may be empty.
        config: How.
        out: Folder to write; what it held is replaced at the end.
        base: GGUF file or folder of a chat model; None: SmolLM2-135M-Instruct, fetched.
        schema: Types and relations; None: those that the labels show.
        each_epoch: Keep a GGUF of the model after each epoch too, NAME-epoch1.gguf and so on.
        progress: Told in words how far it is.

    Raises:
        DataError: There is nothing to learn from.
        ConfigError: There is no such model.
        ExtractionError: Tuning diverged.
        MissingDependencyError: gguf, or peft for LoRA, is not installed.
    """
    if not train:
        raise DataError("Expected labelled documents to tune on, got none")
    begun = time.monotonic()
    if base is None:
        base = next(fetch(DEFAULT_MODEL, progress).glob("*.gguf"))
    schema = schema or schema_of_gold([*train, *dev])
    model, tokenizer = load_model(base)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    examples = examples_of(train, schema, tokenizer, config.max_tokens)
    held_out = examples_of(dev, schema, tokenizer, config.max_tokens) if dev else []
    work = out.with_name(f".{out.name}.tuning")
    work.mkdir(parents=True, exist_ok=True)
    curve = _Curve(work / _CURVE, held_out, tokenizer.eos_token_id, progress)

    def after(epoch: int, model: Any) -> None:
        curve.add(epoch, model)
        if each_epoch and base.suffix == ".gguf":
            save_gguf(model, base, work / f"{out.name}-epoch{epoch}.gguf")

    model = tune(
        model,
        examples,
        config,
        work,
        pad_id=tokenizer.eos_token_id,
        progress=progress,
        after_epoch=after,
    )
    made = out.with_name(f".{out.name}.made")
    shutil.rmtree(made, ignore_errors=True)
    save_model(model, tokenizer, made / "model")
    if base.suffix == ".gguf":
        save_gguf(model, base, made / f"{out.name}.gguf")
    for kept in work.glob("*.gguf"):
        kept.rename(made / kept.name)
    record = {
        "base": base.name,
        "base_sha256": sha256_of(base) if base.is_file() else "",
        "settings": config.model_dump(),
        "schema": schema.model_dump(),
        "documents": len(train),
        "examples": len(examples),
        "tokens_an_example": round(sum(len(one.ids) for one in examples) / len(examples), 1),
        "dev_loss": curve.rows,
        "seconds": round(time.monotonic() - begun, 1),
    }
    (made / "tuning.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    made.rename(out)
    shutil.rmtree(work, ignore_errors=True)
    return record


class _Curve:
    """The loss on held-out examples after each epoch, kept over restarts.

    Attributes:
        rows: One for each epoch: {"epoch": , "loss": }.
    """

    def __init__(
        self, path: Path, examples: Sequence[Example], pad_id: int, progress: Progress
    ) -> None:
        self._path, self._examples, self._pad_id = path, examples, pad_id
        self._tell = progress
        self.rows: list[dict[str, float]] = []
        if path.is_file():
            self.rows = json.loads(path.read_text(encoding="utf-8"))

    def add(self, epoch: int, model: Any) -> None:
        """Measure the model after an epoch."""
        if not self._examples:
            return
        loss = mean_loss(model, self._examples, self._pad_id)
        self._tell(f"epoch {epoch}: loss {loss:.3f} on dev")
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        self.rows.append({"epoch": epoch, "loss": round(loss, 4)})
        self._path.write_text(json.dumps(self.rows), encoding="utf-8")
