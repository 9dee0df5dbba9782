"""From a run's configuration to data in memory: tables built, snapshot loaded, texts encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from graph_etl.errors import FetchError
from graph_etl.mappings import mapping_path
from graph_etl.statistics import GraphStatistics, statistics_of
from kgrec.config import MAPPING, RunConfig
from kgrec.data.audit import AuditReport, audit_dataset
from kgrec.data.dataset import Dataset, dataset_from_snapshot
from kgrec.data.splits import Split, SplitConfig, make_split, published_labels
from kgrec.data.splits.config import PUBLISHED
from kgrec.errors import ConfigError
from kgrec.jobs.graph_build import build_graph
from kgrec.jobs.night_events import TakenEvents
from kgrec.jobs.progress import Progress
from kgrec.jobs.workspace import Workspace
from kgrec.models.text.side import TextVectors


@dataclass(frozen=True)
class Prepared:
    """What the models of a run start from.

    Attributes:
        dataset: Catalogue, users, graph and interactions of the published snapshot.
        encoder: Folder or name of the text encoder; None where text is off.
        text_vectors: Shape (num_items, dim), float32, zero rows for empty texts; where the encoder
            learns, what gives those of a training set; None without an encoder.
        statistics: Figures of the graph.
        audit: What the build counted, dropped, repaired and linked.
        data_audit: What the look over the loaded data found.
        terms: Terms of the public data in use, a line each; empty for one's own data.
        published: The parts that the interactions came in, as ``make_split`` takes them.
    """

    dataset: Dataset
    encoder: str | None
    text_vectors: TextVectors | None
    statistics: GraphStatistics
    audit: dict[str, Any]
    data_audit: AuditReport
    terms: tuple[str, ...]
    published: pl.DataFrame | None = None

    def split(self, config: SplitConfig) -> Split:
        """Return the data divided, by the labels it came with where the split is of those."""
        labels = self.published if config.name in PUBLISHED else None
        return make_split(self.dataset, config, published=labels)


def prepare(
    config: RunConfig,
    workspace: Workspace,
    progress: Progress,
    *,
    gated: bool = False,
    accepted: Mapping[str, str] | None = None,
    events: TakenEvents | None = None,
    state: Path | None = None,
) -> Prepared:
    """Build the snapshot of a run, publish it, and return what models start from.

    Args:
        config: Names the tables and the encoder.
        workspace: Where the graph is kept.
        progress: Told each step.
        gated: Whether the data set's gates judge the change from the published snapshot.
        accepted: Name of a gate that may fail this once -> why.
        events: Of a log, to be added to the tables' interactions.
        state: Serving folder whose ledger says who is left out; None: nobody.

    Raises:
        FetchError: Public data is asked for and cannot be had.
        GraphEtlError: The tables or their mapping are wrong.
    """
    source, data, terms = _source(config, progress)
    snapshot, audit = build_graph(
        source,
        workspace.graph,
        data,
        config.store,
        progress,
        gated=gated,
        accepted=accepted,
        events=events,
        state=state,
    )
    dataset, data_audit = audit_dataset(dataset_from_snapshot(snapshot, config.seed))
    if not config.learn_from_texts:
        dataset = replace(dataset, graph=dataset.graph.ablated("tables", config.seed))
    encoder, encoder_terms = _encoder(config, progress)
    vectors = None if encoder is None else _texts(config, dataset, encoder, workspace, progress)
    return Prepared(
        dataset,
        encoder,
        vectors,
        statistics_of(snapshot),
        audit,
        data_audit,
        (*terms, *encoder_terms),
        published_labels(snapshot),
    )


def _source(config: RunConfig, progress: Progress) -> tuple[Path, Path | None, tuple[str, ...]]:
    """Return what says how to read the tables, where they lie, and their terms."""
    if config.dataset.startswith(MAPPING):
        if config.data is None:
            raise ConfigError(
                f"Expected the folder of the tables with dataset '{config.dataset}', got none; "
                "say 'data: FOLDER' or --data FOLDER"
            )
        return mapping_path(config.dataset.removeprefix(MAPPING)), config.data, ()
    if config.dataset != "demo":
        return Path(config.dataset), config.data, ()
    from graph_etl.fetch import DEMO_MAPPING, fetch_demo

    demo = fetch_demo(lambda step: progress(step, 0.0))
    return mapping_path(DEMO_MAPPING), demo.data, demo.terms


def _texts(
    config: RunConfig, dataset: Dataset, encoder: str, workspace: Workspace, progress: Progress
) -> TextVectors:
    tokens = config.towers.text_max_tokens
    if config.text_tuning.mode != "frozen":
        from kgrec.models.text.tuned import TunedText

        tuning, root = config.text_tuning, workspace.text
        return TunedText(encoder, dataset.items, tuning, root, tokens, progress)
    from kgrec.models.text.encoder import TextEncoder

    progress(f"encoding {dataset.num_items} item texts", 0.0)
    vectors = TextEncoder(encoder, max_tokens=tokens).encode(dataset.items.texts.tolist())
    progress(f"encoded {dataset.num_items} item texts", 1.0)
    return vectors


def _encoder(config: RunConfig, progress: Progress) -> tuple[str | None, tuple[str, ...]]:
    if config.encoder == "off":
        return None, ()
    if config.encoder != "demo":
        return config.encoder, ()
    from graph_etl.fetch import RESOURCES, fetch

    try:
        folder = fetch("minilm", lambda step: progress(step, 0.0))
    except FetchError as error:
        raise FetchError(f"{error}. Or run without texts: 'encoder: off'") from error
    return str(folder), (RESOURCES["minilm"].terms,) if config.dataset != "demo" else ()
