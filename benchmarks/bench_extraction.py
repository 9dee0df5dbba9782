"""Sentences a second of a trained BERT extractor, beside its bare encoder on the same batches.

    python benchmarks/bench_extraction.py --model DIR --texts gold.json --json out.json

Without --model one is trained for a few epochs on the texts that come with the project.
Texts are cut into sentences of 25 words. Extractor and encoder take turns, and the best of the
rounds counts for both: others on the machine can only slow a round down.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

import graph_etl
from graph_etl.extraction.bert import BertExtractor, TrainConfig, train_extractor
from graph_etl.extraction.bert.encoder import bfloat16_helps
from graph_etl.extraction.bert.features import batch_of
from graph_etl.extraction.bert.reading import Reader, batches_of
from graph_etl.extraction.bert.words import words_of
from graph_etl.extraction.evaluation import circumstances
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.gold import read_gold
from graph_etl.extraction.records import Document

CORPUS = Path(graph_etl.__file__).parent / "extraction/corpora/films"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a trained extractor")
    parser.add_argument("--texts", type=Path, default=CORPUS / "gold.jsonl", help="labelled texts")
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--words", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model is None:
            train = read_gold(CORPUS / "train.jsonl")
            arguments.model = train_extractor(train, [], TrainConfig(epochs=4), Path(folder) / "m")
        found = measured(arguments)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def measured(arguments: argparse.Namespace) -> dict[str, object]:
    documents = sentences(arguments.texts, arguments.words, arguments.sentences)
    extractor = BertExtractor(
        arguments.model, batch_documents=len(documents), device=arguments.device
    )
    device = torch.device(arguments.device)
    requests = [Request(one) for one in documents]
    times: dict[str, list[float]] = {"extractor": [], "encoder": []}
    triples = 0
    for turn in range(arguments.rounds + 1):  # the first one warms up
        start = time.perf_counter()
        triples = sum(len(one.extraction.triples) for one in extractor.answers(requests))
        seconds = time.perf_counter() - start
        bare = encoder_seconds(extractor._reader, documents, device)
        if turn:
            times["extractor"].append(seconds)
            times["encoder"].append(bare)
    rates = {name: len(documents) / min(seconds) for name, seconds in times.items()}
    return {
        "model": extractor.model,
        "sentences": len(documents),
        "words": arguments.words,
        "threads": arguments.threads,
        "triples": triples,
        "sentences_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "share_of_encoder": round(rates["extractor"] / rates["encoder"], 3),
        "seconds": {name: [round(one, 3) for one in each] for name, each in times.items()},
        **circumstances([arguments.texts]),
    }


def sentences(path: Path, count: int, most: int) -> list[Document]:
    """Return stretches of so many words of the texts, the texts over again where they end."""
    texts = []
    for one in read_gold(path):
        text = one.document.text
        texts += [text[start:end] for start, end in words_of(text)]
    texts *= -(-count * most // len(texts))
    cut = [texts[at : at + count] for at in range(0, count * most, count)]
    # A full stop would split a stretch into sentences, which is another number of them.
    return [
        Document(str(place), " ".join(word for word in words if word != ".") + " .")
        for place, words in enumerate(cut)
    ]


@torch.inference_mode()
def encoder_seconds(reader: Reader, documents: list[Document], device: torch.device) -> float:
    """Return the seconds that the encoder takes for the batches that the extractor reads."""
    windows = reader.windows(documents)
    places = batches_of([len(one.piece_ids) for one in windows])
    batches = [batch_of([windows[one] for one in each], reader.pieces) for each in places]
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_helps(device)):
        for one in batches:
            ids, attention = one.piece_ids.to(device), one.attention.to(device)
            reader.model.encoder(input_ids=ids, attention_mask=attention)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
