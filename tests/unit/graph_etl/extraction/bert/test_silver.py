"""Labels from a graph: what it knows, what it does not know, and a model that learns from them."""

from tiny_world import FIRMS, PEOPLE, PLACES, SCHEMA, small_config

from graph_etl.extraction.bert import BertExtractor, KnownTriple, silver_documents, train_extractor
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.gold import GoldRelation
from graph_etl.extraction.records import Document, Mention

ENTITIES = [
    ("p1", "person", "Anna"),
    ("p2", "person", "Bert"),
    ("p3", "person", "Anna Lima"),
    ("l1", "place", "Paris"),
    ("l2", "place", "Lima"),
    ("x1", "person", "Oslo"),
    ("x2", "place", "Oslo"),
    ("g1", "genre", "film"),
]
TRIPLES = [
    KnownTriple("p1", "lives_in", "l1"),
    KnownTriple("t1", "has_player", "p1"),
]


def labelled(text, subject=""):
    about = Document("d", text, subject, "thing" if subject else "")
    (gold,) = silver_documents([about], ENTITIES, TRIPLES, SCHEMA)
    return gold


def test_names_of_the_graph_are_mentions_and_its_triples_relations():
    gold = labelled("Anna lives in Paris .")
    assert gold.mentions == (Mention(0, 4, "person"), Mention(14, 19, "place"))
    assert gold.relations == (GoldRelation(0, "lives_in", 1),)
    assert gold.unknown == ()


def test_longest_name_counts_and_ambiguous_names_do_not():
    gold = labelled("Anna Lima and Lima of Oslo , a film")
    assert [(one.start, one.end, one.entity_type) for one in gold.mentions] == [
        (0, 9, "person"),
        (14, 18, "place"),
    ]
    assert gold.unknown == ((22, 26),)


def test_what_the_graph_does_not_know_is_unsure_unless_it_knows_another():
    gold = labelled("Anna and Bert in Paris and Lima")
    anna, bert, paris, lima = range(4)
    assert gold.relations == (GoldRelation(anna, "lives_in", paris),)
    assert gold.unsure == {
        GoldRelation(bert, "lives_in", paris),
        GoldRelation(bert, "lives_in", lima),
    }


def test_relations_of_the_subject_come_from_its_id():
    gold = labelled("Anna and Bert", subject="t1")
    assert gold.relations == (GoldRelation(None, "has_player", 0),)
    assert gold.unsure == frozenset()
    other = labelled("Anna and Bert", subject="t2")
    assert other.relations == ()
    assert other.unsure == {GoldRelation(None, "has_player", place) for place in (0, 1)}


def test_capitalised_words_that_are_no_names_are_unknown():
    gold = labelled("The tall Zoe met Anna . In Rome 北京")
    text = gold.document.text
    assert [text[start:end] for start, end in gold.unknown] == ["Zoe", "Rome"]


def test_a_model_learns_from_a_graph_that_knows_half(tiny_bert, tmp_path):
    entities = [
        *((one, "person", one) for one in PEOPLE[:4]),
        *((one, "place", one) for one in PLACES),
        *((one, "firm", one) for one in FIRMS),
    ]
    triples = [KnownTriple(person, "lives_in", PLACES[0]) for person in PEOPLE[:4]]
    triples += [KnownTriple(person, "works_for", FIRMS[0]) for person in PEOPLE[:2]]
    texts = [f"{person} lives in {PLACES[0]} ." for person in PEOPLE]
    texts += [f"{person} and {place} ." for person in PEOPLE for place in PLACES[1:]]
    texts += [f"{person} works for {FIRMS[0]} ." for person in PEOPLE]
    documents = [Document(str(place), text) for place, text in enumerate(texts)]
    silver = silver_documents(documents, entities, triples, SCHEMA)
    config = small_config(tiny_bert, epochs=40)
    folder = train_extractor(silver, silver, config, tmp_path / "m", schema=SCHEMA)
    with BertExtractor(folder) as extractor:
        said = {
            answer.doc_id: answer.extraction
            for answer in extractor.answers([Request(one) for one in documents])
        }
    works = [said[str(place)] for place in range(len(texts) - 5, len(texts))]
    assert sum(len(one.triples) for one in works) >= 3  # the graph has two of them
