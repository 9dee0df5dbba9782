"""Texts with a provable answer: who lives where, works for whom, is in the thing at hand."""

from itertools import product
from pathlib import Path

from graph_etl.extraction.bert import TrainConfig
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.records import Document, Mention
from graph_etl.graph_schema import EntityType, GraphSchema, RelationType

PEOPLE = ("Anna", "Bert", "Clara", "Dora", "Emil")
PLACES = ("Paris", "Rome", "Oslo", "Bonn", "Lima")
FIRMS = ("Acme", "Globex", "Initech")


def relation(head: str, name: str, tail: str) -> RelationType:
    return RelationType(head=head, relation=name, tail=tail, phrase=name)


SCHEMA = GraphSchema(
    entity_types=[EntityType(name=name) for name in ("thing", "person", "place", "firm")],
    relation_types=[
        relation("person", "lives_in", "place"),
        relation("person", "works_for", "firm"),
        relation("thing", "has_player", "person"),
    ],
)


def document(text: str, name: str = "d", subject: bool = False) -> Document:
    return Document(name, text, "thing:1", "thing") if subject else Document(name, text)


def mention(text: str, name: str, entity_type: str) -> Mention:
    start = text.index(name)
    return Mention(start, start + len(name), entity_type)


def world() -> list[GoldDocument]:
    """Everybody lives somewhere, works somewhere, and plays in a thing or is only named by it."""
    gold = []
    for person, place in product(PEOPLE, PLACES):
        text = f"{person} lives in {place} ."
        both = (mention(text, person, "person"), mention(text, place, "place"))
        found = (GoldRelation(0, "lives_in", 1),)
        gold.append(GoldDocument(document(text, f"l{len(gold)}"), both, found))
        text = f"{person} and {place} ."
        both = (mention(text, person, "person"), mention(text, place, "place"))
        gold.append(GoldDocument(document(text, f"n{len(gold)}"), both))
    for person, firm in product(PEOPLE, FIRMS):
        text = f"{person} works for {firm} ."
        both = (mention(text, person, "person"), mention(text, firm, "firm"))
        found = (GoldRelation(0, "works_for", 1),)
        gold.append(GoldDocument(document(text, f"w{len(gold)}"), both, found))
    for person, other in product(PEOPLE, PEOPLE):
        if person != other:
            text = f"{person} plays . The film with {other} ."
            both = (mention(text, person, "person"), mention(text, other, "person"))
            found = (GoldRelation(None, "has_player", 0),)
            about = document(text, f"p{len(gold)}", subject=True)
            gold.append(GoldDocument(about, both, found))
    return gold


def small_config(encoder: Path, **changes: object) -> TrainConfig:
    settings = {
        "encoder": str(encoder),
        "epochs": 25,
        "encoder_learning_rate": 3e-3,
        "head_learning_rate": 5e-3,
        "train_word_embeddings": True,
        "average_decay": 0.8,
        "patience": 8,
        "model": {
            "hidden_dim": 32,
            "feature_dim": 8,
            "max_span_words": 3,
            "dropout": 0.0,
            "window_pieces": 8,
            "max_pieces": 20,
        },
    }
    return TrainConfig.model_validate(settings | changes)
