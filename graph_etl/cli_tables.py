"""How graph-etl's answers look on a terminal: tables on stdout, progress on stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from graph_etl.pipeline import BuildResult

_MAX_CELL_CHARACTERS = 120


def record_of(value: Any) -> dict[str, Any]:
    """Return a dataclass as plain dicts and lists."""
    record: dict[str, Any] = dataclasses.asdict(value)
    return record


def printable(text: str) -> str:
    """Return text whose control and direction characters are shown as escapes."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Show a bar on stderr; the given function moves it: (what happens now, share done)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("starting", total=1.0)

        def advance(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        yield advance


def build_record(result: BuildResult) -> dict[str, Any]:
    """Return what a build made as plain values."""
    return {
        "snapshot_id": result.snapshot.snapshot_id,
        "path": str(result.snapshot.path),
        "pointer": str(result.pointer),
        "changed": result.changed,
        "counts": result.snapshot.manifest["counts"],
        "audit": result.audit,
        "store": None
        if result.store is None
        else {**record_of(result.store), "writes": result.store.writes},
    }


def print_build(record: dict[str, Any]) -> None:
    """Print the record of a build."""
    _print_pairs("build", _told(record, ("snapshot_id", "path", "pointer", "changed")))
    _print_pairs("rows", record["counts"])
    _print_audit(record["audit"])
    if record["store"] is not None:
        _print_pairs("store", record["store"])


def print_statistics(record: dict[str, Any]) -> None:
    """Print the record of GraphStatistics."""
    numbers = ("entities", "triples", "users", "interactions")
    _print_pairs(
        "graph",
        {
            **_told(record, ("snapshot_id", "dataset", *numbers)),
            "of them positive": record["positive_interactions"],
            "orphans (entities in no triple)": record["orphans"],
        },
    )
    _print_table(
        "entity types",
        ("type", "count", "orphans", "median degree", "mean degree", "max degree"),
        [tuple(row.values()) for row in record["entity_types"]],
    )
    _print_table(
        "relations",
        ("head", "relation", "tail", "triples", "heads", "tails", "of items", "most frequent"),
        [_relation_row(row) for row in record["relations"]],
    )
    _print_table(
        "degrees",
        ("triples of an entity", "entities"),
        [
            (_span(row["low"], row["high"]), row["entities"])
            for row in record["degrees"]
            if row["entities"]
        ],
    )
    text = record["text"]
    _print_pairs(
        "text",
        {
            "items with text": f"{text['with_text']:,} of {text['items']:,}",
            "median characters": text["median_characters"],
            "interactions with such items": f"{text['interaction_share']:.1%}",
        },
    )
    if record["extracted"]:
        _print_table(
            "added by texts",
            ("relation", "triples", "mean confidence", "for example"),
            [_extracted_row(row) for row in record["extracted"]],
        )


def print_counts(record: dict[str, Any]) -> None:
    """Print the record of StoreCounts."""
    _print_pairs("entities", record["entities"])
    _print_pairs("relations", record["relations"])


def print_server(record: dict[str, Any]) -> None:
    """Print the record of a LocalServer."""
    _print_pairs("neo4j", {name: value for name, value in record.items() if value is not None})


def print_llm_server(record: dict[str, Any]) -> None:
    """Print the record of an LlmServer."""
    _print_pairs("llm", {name: value for name, value in record.items() if value is not None})


def print_rows(record: dict[str, Any]) -> None:
    """Print the record of a QueryResult."""
    columns = record["columns"]
    _print_table(None, columns, [[row[name] for name in columns] for row in record["rows"]])
    more = ", there are more: raise --limit" if record["truncated"] else ""
    Console(stderr=True).print(f"{len(record['rows'])} rows{more}", markup=False)


def print_snapshot(record: dict[str, Any]) -> None:
    """Print the record of a snapshot."""
    manifest = record["manifest"]
    short = ("snapshot_id", "schema_version", "parent", "created_at", "run_ids")
    _print_pairs(
        "snapshot",
        {"path": record["path"], **_told(manifest, [name for name in short if name in manifest])},
    )
    _print_pairs("dataset", manifest.get("dataset", {}))
    _print_table(
        "files",
        ("file", "rows", "bytes", "sha256"),
        [
            (f"{name}.parquet", one["rows"], one["bytes"], one["sha256"][:16] + "…")
            for name, one in manifest["files"].items()
        ],
    )
    _print_audit(manifest.get("audit", {}))
    stdout().print(f"verified: {', '.join(record['verified'])}", markup=False)


def _print_audit(audit: dict[str, Any]) -> None:
    tables = audit.get("tables", {})
    reasons = ("dropped", "repaired", "noted")
    _print_table(
        "audit",
        ("table", "rows in", "rows kept", *reasons),
        [
            (name, one["rows_in"], one["rows_kept"], *(_listed(one[reason]) for reason in reasons))
            for name, one in tables.items()
        ],
    )
    for name, counts in audit.get("links", {}).items():
        _print_pairs(f"links: {name}", counts)
    gold = audit.get("extraction", {}).get("gold", {})
    if gold.get("texts"):
        _print_pairs(f"extraction on {gold['texts']} labelled texts", _gold_pairs(gold))


def _gold_pairs(gold: dict[str, Any]) -> dict[str, str]:
    return {
        f"{kind}, strict": ", ".join(
            f"{name} {counts[name]:.1%}" for name in ("precision", "recall", "f1")
        )
        for kind, counts in ((k, v["strict"]["all"]) for k, v in gold["together"].items())
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.items())


def _extracted_row(row: dict[str, Any]) -> tuple[Any, ...]:
    said = row["samples"][0]
    example = f'{said["head"]} -> {said["tail"]}: "{said["evidence"]}"'
    return row["relation"], row["triples"], f"{row['mean_confidence']:.2f}", example


def _relation_row(row: dict[str, Any]) -> tuple[Any, ...]:
    frequent = ", ".join(f"{one['name']} ({one['triples']:,})" for one in row["top"])
    return (
        row["head_type"],
        row["relation"],
        row["tail_type"],
        row["triples"],
        row["heads"],
        row["tails"],
        f"{row['item_share']:.1%}",
        frequent,
    )


def _span(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} and more"
    return str(low) if low == high else f"{low}-{high}"


def _told(record: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: record[name] for name in names}


def _print_pairs(title: str, pairs: dict[str, Any]) -> None:
    if pairs:
        _print_table(title, ("", ""), list(pairs.items()), header=False)


def _print_table(
    title: str | None,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    header: bool = True,
) -> None:
    table = Table(title=title, title_justify="left", show_header=header, title_style="bold")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    stdout().print(table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Text:
    if isinstance(value, float):
        text = f"{value:,.2f}"
    elif _is_number(value):
        text = f"{value:,}"
    elif isinstance(value, dict | list | tuple):
        text = _graph_words(value) or json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = "" if value is None else str(value)
    text = printable(" ".join(text.split()))
    if len(text) > _MAX_CELL_CHARACTERS:
        text = text[: _MAX_CELL_CHARACTERS - 1] + "…"
    return Text(text)


def _graph_words(value: Any) -> str:
    """Return a node, relationship or path of a QueryResult in short; "" for other values."""
    keys = value.keys() if isinstance(value, dict) else set()
    if keys == {"labels", "properties"}:
        name = value["properties"].get("name") or value["properties"].get("entity_id", "")
        kinds = [label for label in value["labels"] if not label.startswith("__")]
        return f"{name} ({', '.join(kinds)})"
    if keys == {"type", "properties"}:
        return f"-{value['type']}-"
    if keys == {"nodes", "relationships"}:
        steps = zip_longest(value["nodes"], value["relationships"])
        return " ".join(_graph_words(one) for pair in steps for one in pair if one)
    return ""


def stdout() -> Console:
    """Return the console of stdout; into files and pipes nothing is folded early."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
