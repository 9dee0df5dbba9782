import polars as pl
import pytest

from graph_etl.errors import ConfigError, DataError
from graph_etl.resolution import LinkConfig, link_items
from graph_etl.resolution.normalise import DEFAULT_WORDS


def table(kind, rows, **more):
    """Rows of (id, title, year) as a frame of items or facts."""
    schema = {f"{kind}_id": pl.String, "title": pl.String, "year": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(**{k: pl.Series(v, dtype=pl.String) for k, v in more.items()})


def linked(items, facts, **config):
    result = link_items(items, facts, LinkConfig(**config))
    return {row[0]: (row[1], row[2]) for row in result.links.iter_rows()}


GENRES = {"evidence": ("genre",)}


@pytest.mark.parametrize(
    ("title", "year", "fact", "fact_year", "method"),
    [
        ("Twelve Monkeys", 1995, "12 Monkeys", 1995, "exact"),
        ("Godfather, The", 1972, "The Godfather", 1972, "exact"),
        ("Toy Story (1995)", None, "Toy Story", 1995, "exact"),
        ("Night Flier", 1997, "The Night Flier", 1997, "without_article"),
        ("Manon of the Spring (Manon des sources)", 1986, "Manon des Sources", 1986,
         "alternative_title"),
        ("Heathers", 1989, "Heathers", 1988, "year_shifted"),
        ("Star Wars", 1977, "Star Wars: Episode IV – A New Hope", 1977, "part_of_title"),
        ("Postino, Il", 1994, "Il Postino: The Postman", 1994, "part_of_title"),
        ("Robert A. Heinlein's The Puppet Masters", 1994, "The Puppet Masters", 1994,
         "part_of_title"),
        ("Star Trek: The Wrath of Khan", 1982, "Star Trek II: The Wrath of Khan", 1982,
         "part_of_title"),
        ("U.S. Marshalls", 1998, "U.S. Marshals", 1998, "similar"),
    ],
)  # fmt: skip
def test_link_items_meets_titles_written_in_two_ways(title, year, fact, fact_year, method):
    items = table("item", [("i", title, year)], genre=["Drama"])
    facts = table(
        "fact", [("f", fact, fact_year), ("g", "Something Else", 1990)], genre=["Drama"] * 2
    )
    assert linked(items, facts, **GENRES) == {"i": ("f", method)}


@pytest.mark.parametrize(
    ("title", "year", "fact", "fact_year"),
    [
        ("Twisted", 1996, "Twister", 1996),
        ("Free Willy", 1995, "Free Willy 2", 1995),
        ("Kill Bill: Vol. 1", 2003, "Kill Bill: Vol. 2", 2003),
        ("Jaws", 1975, "Jaws", 1978),
        ("Boys, Les", 1997, "The Boys", 1998),
        ("Deal, The", 2008, "Deal", 2008),
        ("Adam and Eve", 2005, "Adam and Steve", 2005),
        ("Star Trek: First Contact", 1996, "Star Trek: Generations", 1996),
        ("", 1996, "", 1996),
        ("Heat", None, "Heat", 1995),
        ("Heat", 1995, "Heat", None),
    ],
)
def test_link_items_leaves_different_works_apart(title, year, fact, fact_year):
    items = table("item", [("i", title, year)], genre=["Drama"])
    facts = table("fact", [("f", fact, fact_year)], genre=["Drama"])
    result = link_items(items, facts, LinkConfig(**GENRES))
    assert result.links.height == 0
    assert result.unlinked.height == 1


def test_link_items_prefers_the_surer_way_and_gives_a_fact_once():
    items = table("item", [("a", "Psycho (Norman)", 1960), ("b", "Norman", 1960)])
    facts = table("fact", [("f", "Norman", 1960)])
    assert linked(items, facts) == {"b": ("f", "exact")}


def test_link_items_leaves_equally_good_facts_alone_and_says_so():
    items = table("item", [("i", "Aftermath", 2012)])
    facts = table("fact", [("f", "Aftermath", 2012), ("g", "Aftermath", 2012)])
    result = link_items(items, facts)
    assert result.ambiguous.rows() == [("i", ["f", "g"], "exact", "several_facts")]
    assert result.report["ambiguous_by_reason"] == {"several_facts": 1}


def test_link_items_lets_shared_evidence_choose_among_facts():
    items = table("item", [("i", "Aftermath", 2012)], genre=["Drama, Thriller"])
    facts = table(
        "fact", [("f", "Aftermath", 2012), ("g", "Aftermath", 2012)], genre=["War", "thriller"]
    )
    assert linked(items, facts, **GENRES) == {"i": ("g", "exact")}


def test_link_items_reads_evidence_from_list_columns():
    items = table("item", [("i", "Aftermath", 2012)]).with_columns(genre=pl.lit(["War"]))
    facts = table("fact", [("f", "Aftermath", 2012), ("g", "Aftermath", 2012)]).with_columns(
        genre=pl.Series([["Drama"], ["Drama", "War"]])
    )
    assert linked(items, facts, **GENRES) == {"i": ("g", "exact")}


def test_link_items_refuses_a_shifted_year_without_shared_evidence_unless_specific():
    items = table(
        "item", [("a", "Fear", 1995), ("b", "The Air Up There", 1994)], genre=["Horror"] * 2
    )
    facts = table(
        "fact", [("f", "Fear", 1996), ("g", "The Air Up There", 1993)], genre=["Drama"] * 2
    )
    result = link_items(items, facts, LinkConfig(**GENRES))
    assert result.links["item_id"].to_list() == ["b"]
    assert result.unlinked.rows() == [("a", "refused_by_evidence")]


def test_link_items_leaves_a_fact_that_different_items_claim_alone():
    items = table("item", [("a", "Emma", 1996), ("b", "Emma", 1996)], genre=["Comedy", "Romance"])
    facts = table("fact", [("f", "Emma", 1996)], genre=["Comedy, Romance"])
    result = link_items(items, facts, LinkConfig(**GENRES))
    assert result.links.height == 0
    assert result.ambiguous["reason"].to_list() == ["several_items", "several_items"]


def test_link_items_gives_repeated_items_one_link():
    items = table("item", [("a", "Heat", 1995), ("b", "Heat", 1995)])
    facts = table("fact", [("f", "Heat", 1995)])
    result = link_items(items, facts)
    assert result.links["fact_id"].to_list() == ["f", "f"]
    assert result.report["duplicate_items"] == 1
    first = link_items(items, facts, LinkConfig(duplicates="first"))
    assert first.links["item_id"].to_list() == ["a"]
    assert first.unlinked.rows() == [("b", "duplicate")]


def test_link_items_without_years_where_told_so():
    items = table("item", [("i", "Steel Kettle", None)])
    facts = table("fact", [("f", "Kettle, Steel", 1990), ("g", "Steel Kettle", 1990)])
    assert linked(items, facts) == {}
    assert linked(items, facts, year_tolerance=None) == {"i": ("g", "exact")}
    assert linked(items, facts, missing_year="accept") == {"i": ("g", "year_shifted")}


def test_link_items_tries_only_the_methods_named():
    items = table("item", [("i", "Heathers", 1989)])
    facts = table("fact", [("f", "Heathers", 1988)])
    assert linked(items, facts, methods=("exact", "similar")) == {}


def test_link_items_accounts_for_every_item():
    items = table(
        "item", [("a", "Heat", 1995), ("b", "", 1995), ("c", "Cats", None), ("d", "Up", 2009)]
    )
    facts = table("fact", [("f", "Heat", 1995)])
    result = link_items(items, facts)
    assert result.unlinked.rows() == [("b", "no_title"), ("c", "no_year"), ("d", "no_match")]
    assert result.report == {
        "items": 4,
        "facts": 1,
        "linked": 1,
        "ambiguous": 0,
        "unlinked": 3,
        "by_method": {"exact": 1},
        "ambiguous_by_reason": {},
        "unlinked_by_reason": {"no_match": 1, "no_title": 1, "no_year": 1},
        "duplicate_items": 0,
    }


def test_link_items_with_no_rows_gives_empty_tables():
    result = link_items(table("item", []), table("fact", []))
    assert result.links.columns == ["item_id", "fact_id", "method", "similarity", "year_gap"]
    assert result.report["linked"] == 0


def verdicts(tmp_path, *lines):
    path = tmp_path / "verdicts.csv"
    path.write_text("\n".join(["item_id,fact_id,verdict,made_by", *lines]) + "\n")
    return path


def test_link_items_obeys_verdicts(tmp_path):
    items = table("item", [("a", "Heat", 1995), ("b", "Hard Boiled", 1992), ("c", "Jaws", 1975)])
    facts = table("fact", [("f", "Heat", 1995), ("g", "Lashou shentan", 1992), ("h", "Jaws", 1975)])
    path = verdicts(tmp_path, "a,f,wrong,read", "b,g,right,read", "c,h,right,read", "x,y,right,old")
    result = link_items(items, facts, LinkConfig(reviewed=path))
    assert {r[0]: r[1:3] for r in result.links.iter_rows()} == {
        "b": ("g", "reviewed"),
        "c": ("h", "exact"),
    }
    assert result.unlinked.rows() == [("a", "judged_wrong")]


def test_link_items_lets_a_right_verdict_settle_what_is_contested(tmp_path):
    items = table("item", [("a", "Emma", 1996), ("b", "Emma", 1996)], genre=["Comedy", "Romance"])
    facts = table("fact", [("f", "Emma", 1996), ("g", "Emma", 1996)], genre=["", ""])
    path = verdicts(tmp_path, "a,f,right,read", "b,g,right,read")
    assert linked(items, facts, reviewed=path, **GENRES) == {
        "a": ("f", "exact"),
        "b": ("g", "exact"),
    }


def test_link_items_keeps_repeated_items_together_under_a_verdict(tmp_path):
    items = table("item", [("a", "Heat", 1995), ("b", "Heat", 1995)])
    facts = table("fact", [("f", "Heat", 1995), ("g", "Heat", 1995)])
    path = verdicts(tmp_path, "b,g,right,read")
    assert linked(items, facts, reviewed=path) == {"a": ("g", "exact"), "b": ("g", "exact")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,f,maybe,read", "line 2"),
        (",f,right,read", "line 2"),
        ("a,f,right,read\na,g,right,read", "one right fact for item a"),
        ("a,f,right,read\na,f,wrong,read", "right and wrong"),
    ],
)
def test_load_verdicts_names_a_bad_line(tmp_path, line, message):
    config = LinkConfig(reviewed=verdicts(tmp_path, line))
    with pytest.raises(ConfigError, match=message):
        link_items(table("item", []), table("fact", []), config)


def test_load_verdicts_names_an_absent_file_or_column(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv"):
        link_items(table("item", []), table("fact", []), LinkConfig(reviewed=tmp_path / "none.csv"))
    path = tmp_path / "short.csv"
    path.write_text("item_id,fact_id\n1,2\n")
    with pytest.raises(ConfigError, match="add verdict, made_by"):
        link_items(table("item", []), table("fact", []), LinkConfig(reviewed=path))


def test_link_items_names_a_missing_column_a_wrong_type_and_a_repeated_id():
    good = table("item", [("a", "Heat", 1995)])
    facts = table("fact", [("f", "Heat", 1995)])
    with pytest.raises(DataError, match="Expected a column 'genre' in the table of items"):
        link_items(good, facts, LinkConfig(**GENRES))
    with pytest.raises(DataError, match="'year' of the facts to link to be an integer, got String"):
        link_items(good, facts.with_columns(pl.col("year").cast(pl.String)))
    with pytest.raises(DataError, match="'title' of the items to link to be String"):
        link_items(good.with_columns(title=pl.lit(1)), facts)
    with pytest.raises(DataError, match=r"unique, non-null values of 'fact_id'.*'f' among 2"):
        link_items(good, pl.concat([facts, facts]))


def test_link_items_reads_articles_of_another_language_from_a_file_of_words(tmp_path):
    shipped = DEFAULT_WORDS.read_text(encoding="utf-8")
    path = tmp_path / "words.yaml"
    path.write_text(
        shipped.replace("leading_articles: [the", "leading_articles: [zhe, the").replace(
            "english: [the", "other: [zhe]\n  english: [the"
        ),
        encoding="utf-8",
    )
    items = table("item", [("a", "Blue Lamp, Zhe", 1990), ("b", "Zhe Red Lamp", 1990)])
    facts = table("fact", [("f", "Zhe Blue Lamp", 1990), ("g", "Red Lamp", 1990)])
    assert linked(items, facts) == {}
    assert linked(items, facts, words=path) == {"a": ("f", "exact"), "b": ("g", "without_article")}
