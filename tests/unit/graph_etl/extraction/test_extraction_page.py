"""The page of an evaluation shows every verdict once, and no text can break out of it."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from scripted_extraction import Scripted, film, mention, places, schema
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.evaluation import measured
from graph_etl.extraction.gold import GoldDocument, GoldRelation, save_spans
from graph_etl.extraction.page import ShownEngine, evaluation_page, shown_engines
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention

FILM = film(1, "Set in ROME and Oslo, by Anna.")
GOLD = GoldDocument(
    FILM,
    (mention(FILM, "Rome", "place"), mention(FILM, "Oslo", "place")),
    (GoldRelation(None, "set_in", 0), GoldRelation(None, "set_in", 1)),
)
HOSTILE = "</p><script>alert(1)</script> \"'&<img src=x onerror=y> \0\x08\ud800 \u202e evil"


class Elements(HTMLParser):
    """Collects (tag, attributes) of a page, and the text within each of some tags."""

    def __init__(self, page):
        super().__init__()
        self.found, self._open, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def shown(said=None, name="scripted", gold=GOLD, **more):
    engine = Scripted(said or (lambda request: places(request.document)))
    record, extractions = measured([gold], engine, schema=schema())
    return ShownEngine(name, record, {one.doc_id: one for one in extractions}, **more)


def test_mentions_and_triples_have_their_verdicts():
    page = Elements(evaluation_page("Films", [GOLD], [shown()]))
    marks = [one for one in page.of("mark") if "data-verdict" in one]
    assert [(one["data-type"], one["data-verdict"]) for one in marks] == [
        ("place", "right"),
        ("place", "missed"),
    ]
    lines = [one for one in page.of("li") if "data-verdict" in one]
    assert [(one["data-type"], one["data-verdict"]) for one in lines] == [
        ("set_in", "right"),
        ("set_in", "missed"),
    ]
    assert "100.0" in page.text


def test_what_is_not_labelled_is_invented():
    def said(request):
        anna = mention(request.document, "Anna", "person")
        whole = (0, len(request.document.text))
        triple = ExtractedTriple(None, "directed_by", 0, whole)
        return Extraction(request.document.doc_id, (anna,), (triple,))

    page = Elements(evaluation_page("Films", [GOLD], [shown(said)]))
    verdicts = [one["data-verdict"] for one in page.of("mark") if "data-verdict" in one]
    assert verdicts == ["missed", "missed", "invented"]
    lines = [one["data-verdict"] for one in page.of("li") if "data-verdict" in one]
    assert lines == ["missed", "missed", "invented"]


def test_overlapping_mentions_show_the_whole_text_once():
    document = Document("d", "New York City Hall")
    spans = [(0, 13, "place"), (4, 18, "place"), (4, 8, "person"), (0, 8, "place")]
    gold = GoldDocument(document, tuple(Mention(*one) for one in spans))
    page = evaluation_page("t", [gold], [shown(lambda request: Extraction("d"), gold=gold)])
    bdi = page[page.index("<p><bdi>") : page.index("</bdi></p>")]
    assert re.sub(r"<[^>]*>", "", bdi) == document.text


def test_hostile_texts_and_names_stay_text():
    document = Document(HOSTILE, HOSTILE, HOSTILE, "film", HOSTILE)
    gold = GoldDocument(document, (Mention(4, 30, "place"),), (GoldRelation(None, "set_in", 0),))
    engines = [shown(gold=gold, name=HOSTILE, cost_per_1000=HOSTILE)]
    page = evaluation_page(HOSTILE, [gold], engines)
    elements = Elements(page)
    assert len(elements.of("script")) == 1
    assert not elements.of("img")
    assert not any(name.startswith("on") for _, one in elements.found for name in one)
    assert "alert(1)" in elements.text
    assert "\0" not in page
    page.encode("utf-8")


def test_the_page_fetches_nothing_and_runs_its_own_script_alone():
    page = evaluation_page("Films", [GOLD], [shown()])
    [policy] = [one["content"] for one in Elements(page).of("meta") if "http-equiv" in one]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|src=|@import|url\(", page)


def test_engines_stand_side_by_side():
    silent = shown(lambda request: Extraction("film-1"), "silent", stability={"entities": 0.5})
    page = Elements(evaluation_page("Films", [GOLD], [shown(cost_per_1000="0.42 USD"), silent]))
    for told in ("0.42 USD", "not known", "run once", "entities 50.0", "silent", "none"):
        assert told in page.text
    assert len([one for one in page.of("div") if one.get("class") == "part"]) == 2
    with pytest.raises(ValueError, match="Expected at least one engine"):
        evaluation_page("Films", [GOLD], [])


def test_runs_of_one_engine_are_shown_once_with_their_stability():
    def said(request):
        return places(request.document, 0.9 if request.attempt else 0.6)

    def run(engine):
        record, extractions = measured([GOLD], engine, schema=schema())
        return record, extractions

    runs = [run(Scripted(said)), run(Scripted(lambda request: Extraction("film-1")))]
    runs.append(run(Scripted(said, fingerprint="two")))
    records, extractions = zip(*runs, strict=True)
    records[0]["cost"] = {"amount": 0.02, "currency": "USD"}
    one, two = shown_engines(records, extractions)
    assert one.stability == {"entities": 0.0, "triples": 0.0}
    assert two.stability is None
    assert one.extractions["film-1"].mentions
    assert one.cost_per_1000 == "20.00 USD, 15,000 tokens"  # 10 tokens in and 5 out for each text
    assert two.cost_per_1000 == "15,000 tokens"


def test_an_engine_without_requests_costs_nothing():
    record, extractions = measured([GOLD], Scripted(), schema=schema())
    free = {**record, "usage": {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}}
    assert shown_engines([free], [extractions])[0].cost_per_1000 == "no requests"


def test_the_command_writes_the_page(tmp_path):
    save_spans([GOLD], tmp_path / "gold.jsonl")
    (tmp_path / "names.csv").write_text("entity_type,name\nplace,Rome\n")
    arguments = ["extract", "evaluate", "--engine", "gazetteer", "--runs", "2"]
    arguments += ["--names", str(tmp_path / "names.csv"), "--gold", str(tmp_path / "gold.jsonl")]
    page_file = tmp_path / "new" / "page.html"
    answer = CliRunner().invoke(app, [*arguments, "--html", str(page_file), "--json"])
    assert answer.exit_code == 0, answer.output
    page = Elements(page_file.read_text(encoding="utf-8"))
    assert "gold.jsonl" in page.text
    assert "gazetteer 1" in page.text
    assert "entities 100.0, triples 100.0" in page.text
