import string

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graph_etl.resolution import LinkConfig, link_items, title_forms, title_key
from graph_etl.resolution.normalise import load_words

words = st.text(string.ascii_lowercase + "éøñ", min_size=3, max_size=8)
titles = st.lists(words, min_size=1, max_size=4).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
@example("ℐ")
def test_title_key_of_any_text_is_a_fixed_point_without_stray_spaces(text):
    key = title_key(text)
    assert key == " ".join(key.split())
    assert title_key(key) == key
    assert title_forms(text).bare in title_forms(text).full


@given(titles, st.sampled_from(["The", "Les", "Il", "Die", "L'"]))
def test_title_key_is_the_same_with_the_article_in_front_or_behind(title, article):
    glue = "" if article.endswith("'") else " "
    assert title_key(f"{title}, {article}") == title_key(f"{article}{glue}{title}")


@given(titles)
def test_title_key_ignores_case_and_punctuation(title):
    assert title_key(title.title().replace(" ", " - ") + "!") == title_key(title)


@given(st.integers(1, 39))
def test_title_key_reads_roman_numerals(number):
    tens, ones = divmod(number, 10)
    roman = "X" * tens + ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"][ones]
    assert title_key(f"Part {roman}") == title_key(f"Part {number}")


@given(st.integers(1, 9999))
def test_title_key_reads_number_words(number):
    assert title_key(_in_words(number)) == str(number)


def _in_words(number):
    lists = load_words()
    units = {value: word for word, value in lists.units.items()}
    tens = {value: word for word, value in lists.tens.items()}
    said = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            said += [units[number // size], name]
            number %= size
    if said and number:
        said.append("and")
    if number >= 20:
        said.append(tens[number // 10 * 10])
        number %= 10
    return " ".join([*said, *([units[number]] if number else [])])


rows = st.lists(st.tuples(titles, st.one_of(st.none(), st.integers(1990, 1993))), max_size=12)


@settings(max_examples=25, deadline=None)
@given(rows, rows, st.sampled_from(["share", "first"]))
def test_link_items_names_each_item_once_and_gives_each_fact_to_one_work(items, facts, duplicates):
    left = _table("item", items)
    right = _table("fact", facts)
    result = link_items(left, right, LinkConfig(duplicates=duplicates))
    named = [*result.links["item_id"], *result.ambiguous["item_id"], *result.unlinked["item_id"]]
    assert sorted(named) == sorted(left["item_id"])
    joined = result.links.join(left, on="item_id")
    for _, group in joined.group_by("fact_id"):
        assert (
            group.select("title", "year").unique().height == 1
            or len({title_key(title) for title in group["title"]}) == 1
        )
    again = link_items(left, right, LinkConfig(duplicates=duplicates))
    assert again.links.equals(result.links)


def _table(kind, rows):
    data = [(f"{kind}{number}", title, year) for number, (title, year) in enumerate(rows)]
    schema = {f"{kind}_id": pl.String, "title": pl.String, "year": pl.Int64}
    return pl.DataFrame(data, schema=schema, orient="row")
