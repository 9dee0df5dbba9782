"""docs/reference/dataset-yaml.md tells what the code says of its fields; see make golden-update."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from graph_etl import dataset_config as sections
from graph_etl.extraction import config as extraction
from graph_etl.extraction.run import RunLimits
from graph_etl.extraction.validation import ExtractionLimits
from graph_etl.gates import GateConfig, GoldQuery
from graph_etl.resolution import ResolutionConfig
from graph_etl.table_config import DeriveConfig, FrozenModel, JoinConfig, TableConfig

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dataset-yaml.md"
HEAD = """# Every field of dataset.yaml

`extends: NAME` takes all fields of a shipped mapping or of another YAML; those written beside it
replace them one by one. A table is a path, or the mapping under [a table](#a-table).
[Your own data](../how-to/your-own-data.md) says how to begin.
"""
PARTS: tuple[tuple[str, type[FrozenModel]], ...] = (
    ("the file", sections.DatasetConfig),
    ("items", sections.ItemsConfig),
    ("attributes of items or facts", sections.AttributeConfig),
    ("items.vectors", sections.VectorsConfig),
    ("users", sections.UsersConfig),
    ("interactions", sections.InteractionsConfig),
    ("interactions.timestamp", sections.TimestampConfig),
    ("interactions.event", sections.EventConfig),
    ("interactions.positive", sections.PositiveConfig),
    ("outside", sections.OutsideConfig),
    ("triples", sections.TriplesConfig),
    ("triples.link", sections.LinkTableConfig),
    ("triples.names", sections.EntityNamesConfig),
    ("facts", sections.FactsConfig),
    ("extraction", extraction.ExtractionConfig),
    ("extraction.engines: gazetteer", extraction.GazetteerConfig),
    ("extraction.engines: bert", extraction.BertConfig),
    ("extraction.engines: llm", extraction.LlmConfig),
    ("extraction.engines: budget of an llm", extraction.BudgetConfig),
    ("extraction.limits", ExtractionLimits),
    ("extraction.run", RunLimits),
    ("resolution", ResolutionConfig),
    ("gates", GateConfig),
    ("gates.gold", GoldQuery),
    ("a table", TableConfig),
    ("join", JoinConfig),
    ("derive", DeriveConfig),
)


def default_of(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return ""
    if isinstance(field.default, FrozenModel):
        return "see below"
    return f"`{json.dumps(field.default, ensure_ascii=False)}`"


def page() -> str:
    lines = [HEAD]
    for title, model in PARTS:
        about = re.sub(r"\s+", " ", model.__doc__ or "")
        lines += [f"## {title}", "", about, "", "| field | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            meaning = re.sub(r"\s+", " ", field.description or "").replace("<", "&lt;")
            assert meaning, f"{model.__name__}.{name} has no description"
            cells = (f"`{field.alias or name}`", default_of(field), meaning)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def test_the_page_tells_every_field() -> None:
    if os.environ.get("KGREC_UPDATE_GOLDEN"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "write it anew with 'make golden-update'"
