"""The commands kgrec index: show, build, tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli_errors import user_errors
from kgrec.cli_progress import progress
from kgrec.errors import ConfigError

_PICTURES = (".svg", ".pdf", ".png")

ArtifactPath = Annotated[
    Path, typer.Argument(help="Pointer file (runs/demo/current) or artifact folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def index_show(path: ArtifactPath, as_json: AsJson = False) -> None:
    """Show an artifact's vector indexes: kind, size, recall measured against exact search."""
    from kgrec.artifact import load_artifact
    from kgrec.cli_output import index_in_words

    with user_errors():
        found: dict[str, Any] = load_artifact(path).scorer.describe().get("indexes", {})
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    if not found:
        typer.echo("no vector index: all candidates come from sources without vectors")
    for name, description in found.items():
        typer.echo(f"{name}: {index_in_words(description)}")


def index_build(
    path: ArtifactPath,
    source: Annotated[str, typer.Option(help="Source whose vectors are indexed.")] = "towers",
    kind: Annotated[
        str, typer.Option(help="auto, flat (exact), hnsw, ivf, ivf_4bit or ivf_pq.")
    ] = "auto",
    target_recall: Annotated[float, typer.Option(help="Least recall@k to reach.")] = 0.99,
    recall_k: Annotated[int, typer.Option(help="k of that recall.")] = 100,
    neighbours: Annotated[int, typer.Option(help="Links of a vector in HNSW.")] = 32,
    construction_effort: Annotated[int, typer.Option(help="Effort of building HNSW.")] = 120,
    shards: Annotated[int, typer.Option(help="Files that the vectors are divided among.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Build a vector index anew and publish the artifact with it; nothing is trained."""
    from dataclasses import asdict

    from kgrec.cli_output import print_rebuilt_index
    from kgrec.jobs.index_build import build_index, index_config

    with user_errors():
        config = index_config(
            kind=kind,
            target_recall=target_recall,
            recall_k=recall_k,
            neighbours=neighbours,
            construction_effort=construction_effort,
            shards=shards,
        )
        found = build_index(path, config, source)
    if as_json:
        told = {**asdict(found), "artifact": str(found.artifact)}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        print_rebuilt_index(found, path)


def index_tune(
    artifact: Annotated[Path, typer.Option(help="Pointer file or artifact folder.")],
    source: Annotated[str, typer.Option(help="Source whose vectors are indexed.")] = "towers",
    target_recall: Annotated[float, typer.Option(help="Least recall@k to reach.")] = 0.99,
    recall_k: Annotated[int, typer.Option(help="k of that recall.")] = 100,
    max_memory_mb: Annotated[
        float | None, typer.Option(help="Memory that the index may take, in millions of bytes.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw into this .svg, .pdf or .png.")] = None,
    write: Annotated[
        bool, typer.Option(help="Build the chosen kind and publish the artifact with it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure recall, time and memory of every kind of index on the artifact's own vectors."""
    from kgrec.jobs.index_build import build_index, index_config
    from kgrec.jobs.index_tune import plot as draw
    from kgrec.jobs.index_tune import tune_index

    with user_errors(), progress() as tell:
        if plot is not None and plot.suffix not in _PICTURES:
            raise ConfigError(f"Expected --plot FILE of {', '.join(_PICTURES)}, got {plot}")
        most = None if max_memory_mb is None else int(max_memory_mb * 1e6)
        config = index_config(target_recall=target_recall, recall_k=recall_k, max_memory_bytes=most)
        found = tune_index(artifact, config, source, tell)
        if plot is not None:
            draw(found, plot)
        rebuilt = None
        if write:
            if found.chosen is None:
                raise ConfigError(
                    f"Expected a kind that reaches recall {target_recall} within the memory, got "
                    "none; nothing was written: lower --target-recall or raise --max-memory-mb"
                )
            chosen = config.model_copy(update={"kind": found.chosen.kind})
            rebuilt = build_index(artifact, chosen, source)
    if as_json:
        written = None if rebuilt is None else str(rebuilt.artifact)
        typer.echo(json.dumps({**found.to_dict(), "artifact": written}, indent=1))
        return
    typer.echo(f"{found.num_items:,} vectors of {found.dim} numbers, {found.queries} queries")
    typer.echo(f"  kind    effort  refine  recall@{found.recall_k}  CPU ms/query  memory MB")
    for one in found.settings:
        mark = "*" if one == found.chosen else "+" if one.on_frontier else " "
        typer.echo(
            f"{mark} {one.kind:7} {one.effort or '-':>6}  {one.refine:>6}  {one.recall:10.4f}  "
            f"{one.cpu_ms:12.4f}  {one.memory_bytes / 1e6:9.2f}"
        )
    typer.echo("* chosen, + no other is better in all three")
    if rebuilt is not None:
        typer.echo(f"artifact  {rebuilt.artifact}")
