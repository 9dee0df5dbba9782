"""How well a run reads the labelled texts among those that it reads, with no further question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from graph_etl.extraction.composition import merged
from graph_etl.extraction.gold import GoldDocument, read_gold
from graph_etl.extraction.records import Extraction
from graph_etl.extraction.run import Extracted
from graph_etl.extraction.scoring import ALL, as_record, scores_of

_TOGETHER = "together"


class GoldCheck:
    """Looks on while documents go by, and compares those that are labelled.

    A document is the labelled one where its text is the same, whatever it is called.

    Args:
        gold: Labelled documents.
        engines: Names of the run's engines, in their order.
    """

    def __init__(self, gold: Sequence[GoldDocument], engines: Sequence[str]) -> None:
        self._gold = {one.document.content_hash: one for one in gold}
        self._engines = list(dict.fromkeys(engines))
        self._said: dict[str, Extracted] = {}

    def watched(self, found: Iterable[Extracted]) -> Iterator[Extracted]:
        """Yield what goes by."""
        for one in found:
            if (text := one.document.content_hash) in self._gold:
                self._said.setdefault(text, one)
            yield one

    def record(self) -> dict[str, Any]:
        """Return scores as plain values, of the labelled texts that went by.

        {"texts", "absent": labelled texts that did not, "together": scores of all engines' answers
        made one, as ``scoring.as_record``, "engines": name -> {"entities" | "triples": strict
        counts over all types}}; without texts no scores.
        """
        gold = [self._gold[text] for text in self._said]
        found: dict[str, Any] = {"texts": len(gold), "absent": len(self._gold) - len(gold)}
        if not gold:
            return found
        found[_TOGETHER] = as_record(scores_of(gold, self._answers(None)))
        found["engines"] = {
            engine: {
                kind: views["strict"][ALL]
                for kind, views in as_record(scores_of(gold, self._answers(engine))).items()
            }
            for engine in self._engines
        }
        return found

    def _answers(self, engine: str | None) -> dict[str, Extraction]:
        """Return what one engine, or all of them, said, by doc_id of the labelled document."""
        answers = {}
        for text, one in self._said.items():
            parts = [
                (extractor.engine, extraction)
                for extractor, extraction in one.parts
                if engine in (None, extractor.engine)
            ]
            if parts:
                doc_id = self._gold[text].document.doc_id
                answers[doc_id] = merged(doc_id, parts).extraction
        return answers


def gold_check(file: str | None, engines: Sequence[str]) -> GoldCheck:
    """Return a check against a file of labelled texts; None: one that knows of none."""
    gold = [] if file is None else read_gold(Path(file))
    return GoldCheck(gold, engines)
