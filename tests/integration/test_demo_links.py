"""The links of the demo catalogue, against the verdicts that people gave on them."""

import os
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from graph_etl.fetch import fetch, is_fetched
from graph_etl.resolution import LinkConfig, link_items, load_verdicts

VERDICTS = Path(__file__).parents[2] / "graph_etl" / "mappings" / "movielens-demo-links.csv"

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def tables():
    """Items (with the number of their ratings) and facts of the demo."""
    fetched = is_fetched("ml-100k") and is_fetched("film-facts")
    if not fetched and not os.environ.get("KGREC_DATA_DIR"):
        pytest.skip("the demo data is not in the cache ('make demo') and KGREC_DATA_DIR is unset")
    folder = fetch("ml-100k")

    def read(suffix):
        path = folder / f"ml-100k.{suffix}"
        return pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)

    ratings = read("inter").group_by(item_id="item_id:token").len("ratings")
    items = read("item").select(
        item_id="item_id:token",
        title="movie_title:token_seq",
        year=pl.col("release_year:token").cast(pl.Int64, strict=False),
        genre=pl.col("class:token_seq").str.split(" "),
    )
    connection = sqlite3.connect(fetch("film-facts") / "movies.db")
    rows = connection.execute("SELECT CAST(ID AS TEXT), Title, Year, Genre FROM omdb").fetchall()
    connection.close()
    facts = pl.DataFrame(rows, schema=["fact_id", "title", "year", "genre"], orient="row")
    return items.join(ratings, on="item_id", how="left"), facts


@pytest.fixture(scope="module")
def by_rule(tables):
    """What the rules link without any verdict."""
    return link_items(*tables, LinkConfig(evidence=("genre",)))


def test_link_items_covers_96_percent_of_the_demo_ratings_by_rule(tables, by_rule):
    items, _ = tables
    covered = items.filter(pl.col("item_id").is_in(by_rule.links["item_id"].implode()))
    assert covered["ratings"].sum() / items["ratings"].sum() >= 0.96


def test_link_items_makes_no_inexact_link_that_was_not_read_and_found_right(by_rule):
    right = load_verdicts(VERDICTS).right
    inexact = by_rule.links.filter(pl.col("method") != "exact")
    assert inexact.height >= 90
    unread = [row[:3] for row in inexact.iter_rows() if right.get(row[0]) != row[1]]
    assert unread == []


def test_verdicts_agree_with_every_link_they_speak_of(by_rule):
    verdicts = load_verdicts(VERDICTS)
    links = dict(by_rule.links.select("item_id", "fact_id").iter_rows())
    assert {item: links.get(item) for item in verdicts.right} == dict(verdicts.right)
    assert not verdicts.wrong & set(links.items())


def test_verdicts_read_at_least_100_exact_links_drawn_by_seed(by_rule):
    table = pl.read_csv(VERDICTS, infer_schema=False)
    drawn = table.filter(pl.col("made_by").str.starts_with("exact, drawn"))
    exact = by_rule.links.filter(pl.col("method") == "exact")["item_id"]
    assert drawn.height == 100
    assert drawn["item_id"].is_in(exact.implode()).all()


def test_link_items_with_the_verdicts_gives_the_same_links(tables, by_rule):
    reviewed = link_items(*tables, LinkConfig(evidence=("genre",), reviewed=VERDICTS))
    assert reviewed.links.equals(by_rule.links)


def test_link_items_accounts_for_every_demo_item(tables, by_rule):
    parts = (by_rule.links, by_rule.ambiguous, by_rule.unlinked)
    named = [item for part in parts for item in part["item_id"]]
    assert sorted(named) == sorted(tables[0]["item_id"])
    assert by_rule.report["duplicate_items"] == 18
