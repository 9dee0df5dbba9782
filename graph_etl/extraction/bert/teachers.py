"""Trained extractors as teachers of another: loaded, and checked to answer the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graph_etl.errors import ConfigError
from graph_etl.extraction.bert.artifact import load_model
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.reading import Reader


def teachers_of(folders: Sequence[str], reader: Reader) -> list[JointModel]:
    """Return the models of extractors, in evaluation mode, on the CPU.

    Args:
        folders: Of trained extractors.
        reader: What is to learn from them.

    Raises:
        ConfigError: A teacher has other types, relations, word pieces or longest span.
        ExtractionError: There is no extractor in a folder, or it is damaged.
    """
    teachers = []
    for folder in folders:
        teacher = load_model(Path(folder)).reader
        mine, its = _questions(reader), _questions(teacher)
        differing = [name for name in mine if mine[name] != its[name]]
        if differing:
            raise ConfigError(
                f"Expected a teacher with the {differing[0]} of what learns from it, got others in "
                f"{folder}; train it on the same labels with an encoder of the same vocabulary"
            )
        teachers.append(teacher.model)
    return teachers


def _questions(reader: Reader) -> dict[str, object]:
    return {
        "entity types": reader.labels.entity_types,
        "relations": reader.labels.relations,
        "longest span": reader.model.settings.max_span_words,
        "word pieces": reader.pieces.tokenizer.get_vocab(),
    }
