"""A trained BERT extractor with its encoder in torch (bfloat16, float32) and in ONNX Runtime.

    python benchmarks/bench_extraction_onnx.py --model DIR --texts gold.json --json out.json

The encoder alone is exchanged: words, heads and decoding stay the extractor's own. All read the
same labelled documents, in turn, round by round; a rate is documents per second of CPU (all threads
together), the best of the rounds, since others on the machine can only cost time. ONNX Runtime's
threads sleep while they wait; torch's too, with OMP_WAIT_POLICY=PASSIVE, which is set here.
Needs: pip install "kgrec[onnx]"
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded

import numpy as np
import torch

from graph_etl.extraction.bert import BertExtractor
from graph_etl.extraction.bert.encoder import bfloat16_helps
from graph_etl.extraction.bert.features import batch_of
from graph_etl.extraction.bert.onnx_encoder import OnnxEncoder, exported
from graph_etl.extraction.bert.reading import Reader, batches_of
from graph_etl.extraction.evaluation import circumstances
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.gold import GoldDocument, read_gold
from graph_etl.extraction.records import Extraction
from graph_etl.extraction.scoring import ALL, as_record, scores_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained extractor")
    parser.add_argument("--texts", type=Path, required=True, help="labelled texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gold = read_gold(arguments.texts)
    with tempfile.TemporaryDirectory() as folder:
        files = onnx_files(BertExtractor(arguments.model, device="cpu")._reader, Path(folder))
        rows = [
            row
            for threads in arguments.threads
            for row in compared(arguments.model, gold, files, threads, arguments.rounds)
        ]
    found = {
        "model": BertExtractor(arguments.model, device="cpu").model,
        "documents": len(gold),
        "rounds": arguments.rounds,
        "bfloat16_in_hardware": bfloat16_helps(torch.device("cpu")),
        "rows": rows,
        **circumstances([arguments.texts]),
    }
    found["versions"] |= {name: metadata.version(name) for name in ("onnx", "onnxruntime")}
    found["machine"]["threads"] = arguments.threads
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


def onnx_files(reader: Reader, folder: Path) -> dict[str, Path]:
    """Write the encoder as ONNX, whole and with weights of 8 bits; return the files by name."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole, small = folder / "encoder.onnx", folder / "encoder-int8.onnx"
    exported(reader.model.encoder, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8)
    return {"onnx float32": whole, "onnx int8": small}


def compared(
    model: Path, gold: list[GoldDocument], files: dict[str, Path], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Return a row for each encoder: rates with and without words, heads and decoding, and F1."""
    torch.set_num_threads(threads)
    readers: dict[str, BertExtractor] = {}
    for name in ("torch bfloat16", "torch float32", *files):
        extractor = BertExtractor(model, batch_documents=len(gold), device="cpu")
        reader = replace(extractor._reader, bfloat16=name == "torch bfloat16")
        if name in files:
            reader.model.encoder = OnnxEncoder(reader.model.encoder, files[name])
        extractor._reader = reader
        readers[name] = extractor
    requests = [Request(one.document) for one in gold]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    said: dict[str, list[Extraction]] = {}
    for turn in range(rounds + 1):  # the first one warms up
        for name, extractor in readers.items():
            said[name], whole = timed(
                lambda one=extractor: [
                    answer.extraction or Extraction("") for answer in one.answers(requests)
                ]
            )
            alone = encoder_seconds(extractor._reader, gold)
            if turn:
                seconds[name].append((whole, alone))
    best = {name: np.min(np.asarray(taken), axis=0) for name, taken in seconds.items()}
    rows = []
    for name in readers:
        by_doc = {one.document.doc_id: found for one, found in zip(gold, said[name], strict=True)}
        scores = as_record(scores_of(gold, by_doc))
        rows.append(
            {
                "encoder": name,
                "threads": threads,
                "documents_per_cpu_s": round(len(gold) / best[name][0], 1),
                "encoder_documents_per_cpu_s": round(len(gold) / best[name][1], 1),
                "times_float32_torch": round(best["torch float32"][0] / best[name][0], 3),
                "times_float32_torch_encoder": round(best["torch float32"][1] / best[name][1], 3),
                "f1": {
                    kind: round(scores[kind]["strict"][ALL]["f1"], 4)
                    for kind in ("entities", "triples")
                },
            }
        )
    return rows


def timed(work: Callable[[], list[Extraction]]) -> tuple[list[Extraction], float]:
    begun = time.process_time()
    return work(), time.process_time() - begun


@torch.inference_mode()
def encoder_seconds(reader: Reader, gold: list[GoldDocument]) -> float:
    """Return the CPU seconds of the encoder for the batches that the extractor reads."""
    windows = reader.windows([one.document for one in gold])
    batches = [
        batch_of([windows[one] for one in places], reader.pieces)
        for places in batches_of([len(one.piece_ids) for one in windows])
    ]
    begun = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=reader.bfloat16):
        for one in batches:
            embedded = reader.model.encoder.get_input_embeddings()(one.piece_ids)
            reader.model.encoder(inputs_embeds=embedded, attention_mask=one.attention)
    return time.process_time() - begun


if __name__ == "__main__":
    main()
