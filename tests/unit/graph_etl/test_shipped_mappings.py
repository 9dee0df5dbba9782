import gzip
import json
import sqlite3

import pytest

from graph_etl.errors import ConfigError
from graph_etl.extraction.documents import extraction_schema
from graph_etl.extraction.gold_check import gold_check
from graph_etl.mappings import load_mapping, mapping_names, recognise
from graph_etl.pipeline import build

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t5\t881250949\n" + (
    "8\t2\t3\t891717742\n"
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tSting, The\t1973\tComedy Crime\n2\tHeat\t1995\tCrime\n"
)
USER = (
    "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "7\t24\tM\twriter\t85711\n8\t53\tF\tother\t94043\n"
)
KG = "head_id:token\trelation_id:token\ttail_id:token\nm.1\tfilm.film.actor\tm.7\n"
LINK = "item_id:token\tentity_id:token\n1\tm.1\n"


def movies_db(path):
    connection = sqlite3.connect(path)
    connection.execute(
        'CREATE TABLE omdb (ID, imdbID, Title, Year, Director, Writer, "Cast", Genre, Language, '
        "Country, imdbVotes)"
    )
    connection.execute(
        f"INSERT INTO omdb VALUES ({', '.join('?' * 11)})",
        (70735, "tt0070735", "The Sting", 1973, "George Roy Hill", "David S. Ward (screenplay)",
         "Paul Newman, Robert Redford", "Comedy, Crime", "English", "N/A", 123456),
    )  # fmt: skip
    connection.commit()
    connection.close()


def write(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", "-").replace("_dot_", ".")).write_text(text, "utf-8")
    return folder


@pytest.fixture
def folders(tmp_path):
    atomic = {
        "ml__100k_dot_inter": INTER,
        "ml__100k_dot_item": ITEM,
        "ml__100k_dot_user": USER,
    }
    graph = {"ml__100k_dot_kg": KG, "ml__100k_dot_link": LINK}
    demo = write(tmp_path / "demo", **atomic, **graph)  # as it is fetched
    movies_db(demo / "movies.db")
    amazon = write(tmp_path / "amazon")
    review = {"reviewerID": "u", "asin": "p", "overall": 5.0, "unixReviewTime": 1529193600}
    product = {
        "asin": "p",
        "title": "Rubio&#39;s Card",
        "brand": "by Rubio&#39;s",
        "price": "$1,025.00",
        "category": ["Gift Cards", "No expiration, no fees.", "Gift Cards"],
        "description": ["A <b>card</b>.", "Really."],
        "also_buy": ["q"],
    }
    (amazon / "Gift_5.json.gz").write_bytes(gzip.compress(json.dumps(review).encode()))
    (amazon / "meta_Gift.json.gz").write_bytes(gzip.compress(json.dumps(product).encode()))
    dat = tmp_path / "dat"
    dat.mkdir()
    (dat / "movies.dat").write_bytes("1::Amélie (2001)::Comedy|Romance\n".encode("latin-1"))
    (dat / "ratings.dat").write_text("7::1::5::978300760\n")
    (dat / "users.dat").write_text("7::F::25::12::55117\n9::M::1::10::48067\n")
    csv = {"movies_dot_csv": "movieId,title,genres\n1,Heat (1995),Action|Crime\n"
                             '2,"Sting, The (1973)",(no genres listed)\n',
           "ratings_dot_csv": "userId,movieId,rating,timestamp\n7,1,3.5,964982703\n"}  # fmt: skip
    split = {
        f"x_dot_{part}_dot_inter": f"user_id:token\titem_id:token\n{user}\t{user}\n"
        for user, part in enumerate(("train", "valid", "test"))
    }
    sequence = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    science = {
        "S_dot_train_dot_inter": f"{sequence}0\t2 1\t0\n0\t2\t1\n",
        "S_dot_valid_dot_inter": f"{sequence}0\t2 1 0\t2\n",
        "S_dot_test_dot_inter": f"{sequence}0\t2 1 0 2\t1\n",
        "S_dot_item2index": "B1\t0\nB2\t1\nB3\t2\n",
        "S_dot_text": "item_id:token\ttext:token_seq\n"
        "B2\tA Screw 1.5in. Industrial & Scientific Fasteners Screws. Small Parts. \n"
        "B1\tRye Malt. . Briess. \n",
    }
    return {
        "amazon-scientific": write(tmp_path / "science", **science),
        "movielens-demo": demo,
        "ml-100k-recbole": write(tmp_path / "kg", **atomic, **graph),
        "recbole": write(tmp_path / "x", x_dot_inter=INTER, x_dot_item=ITEM, x_dot_user=USER),
        "recbole-split": write(tmp_path / "split", **split),
        "kgat": write(
            tmp_path / "kgat", train_dot_txt="0 0 1\n1 1\n", test_dot_txt="0 2\n",
            kg_final_dot_txt="0 0 3\n3 1 2\n",
        ),
        "amazon-reviews": amazon,
        "movielens-dat": dat,
        "movielens-csv": write(tmp_path / "csv", **csv),
    }  # fmt: skip


def test_every_mapping_loads_and_says_what_it_is():
    names = mapping_names()
    assert len(names) == 14
    for name in names:
        config = load_mapping(name)
        assert config.name == name
        assert config.description
        assert config.recognised_by
    with pytest.raises(ConfigError, match=r"a mapping among amazon-reviews, .* got 'netflix'"):
        load_mapping("netflix")


def test_folders_are_recognised_by_their_files(folders, tmp_path):
    assert {name: recognise(folder) for name, folder in folders.items()} == {
        name: name for name in folders
    }
    assert recognise(write(tmp_path / "strange", a_dot_csv="x\n")) is None
    (folders["movielens-csv"] / "derived").mkdir()
    (folders["movielens-csv"] / "derived" / "items_joined.parquet").touch()
    assert recognise(folders["movielens-csv"]) == "ml-latest-small"


def test_a_build_tells_by_which_mapping_it_reads_a_folder(folders, tmp_path):
    told = []
    build(folders["kgat"], out=tmp_path / "out", progress=lambda what, share: told.append(what))
    assert "the data set is kgat" in told


def triples(snapshot):
    name = snapshot.entities["name"].to_list()
    relation = snapshot.relation_types["relation"].to_list()
    rows = snapshot.triples.select("head_idx", "relation_idx", "tail_idx").rows()
    return {(name[h], relation[r], name[t]) for h, r, t in rows}


def built(folders, tmp_path, name):
    return build(folders[name], out=tmp_path / "out").snapshot


def test_movielens_demo(folders, tmp_path):
    config = load_mapping("movielens-demo")
    section = config.extraction.model_copy(update={"enabled": False})  # it would train a model
    tables_alone = config.model_copy(update={"extraction": section})
    snapshot = build(tables_alone, data=folders["movielens-demo"], out=tmp_path / "out").snapshot
    assert triples(snapshot) == {
        ("Sting, The", "has_genre", "Comedy"),
        ("Sting, The", "has_genre", "Crime"),
        ("Heat", "has_genre", "Crime"),
        ("Sting, The", "directed_by", "George Roy Hill"),
        ("Sting, The", "written_by", "David S. Ward"),
        ("Sting, The", "stars", "Paul Newman"),
        ("Sting, The", "stars", "Robert Redford"),
        ("Sting, The", "in_language", "English"),
    }
    assert snapshot.items["text"].to_list() == [
        "Sting, The. Genres: Comedy, Crime",
        "Heat. Genres: Crime",
    ]
    assert snapshot.items["numeric.release_year"].to_list() == [1973.0, 1995.0]
    assert snapshot.users["profile_text"].to_list()[0] == "24 year old man. writer"
    assert snapshot.interactions["positive"].to_list() == [True, False]
    dropped = snapshot.manifest["audit"]["tables"]["attributes.movies.db:omdb.made_in"]["dropped"]
    assert dropped == {"missing-value word": 1}


def test_the_demo_reads_the_shipped_texts_by_their_schema():
    section = load_mapping("movielens-demo").extraction
    assert [one.engine for one in section.engines] == ["gazetteer", "bert"]
    assert {one.name for one in extraction_schema(section).entity_types} > {"person", "place"}
    gold = gold_check(section.gold, ["bert"]).record()
    assert (gold["texts"], gold["absent"]) == (0, 100)


def test_ml_100k_with_its_published_graph(folders, tmp_path):
    snapshot = built(folders, tmp_path, "ml-100k-recbole")
    assert ("Sting, The", "film.film.actor", "m.7") in triples(snapshot)
    assert ("Heat", "has_genre", "Crime") in triples(snapshot)
    assert snapshot.manifest["dataset"]["terms"]


def test_any_recbole_folder(folders, tmp_path):
    snapshot = built(folders, tmp_path, "recbole")
    assert ("Sting, The", "has_class", "Comedy") in triples(snapshot)
    assert ("Heat", "has_release_year", "1995") in triples(snapshot)
    assert snapshot.users["attribute.gender"].to_list() == ["M", "F"]
    assert snapshot.interactions["timestamp"].to_list() == [881250949, 891717742]
    assert snapshot.interactions["positive"].all()


def test_a_published_split(folders, tmp_path):
    snapshot = built(folders, tmp_path, "recbole-split")
    assert snapshot.interactions["context.split"].to_list() == ["train", "valid", "test"]


def test_kgat_text_files(folders, tmp_path):
    snapshot = built(folders, tmp_path, "kgat")
    assert triples(snapshot) == {("0", "relation_0", "3"), ("3", "relation_1", "2")}
    assert snapshot.interactions["context.split"].to_list() == ["train"] * 3 + ["test"]


def test_amazon_reviews(folders, tmp_path):
    snapshot = built(folders, tmp_path, "amazon-reviews")
    assert triples(snapshot) == {
        ("Rubio's Card", "made_by", "Rubio's"),
        ("Rubio's Card", "in_category", "Gift Cards"),
    }
    assert snapshot.items["numeric.price_usd"].to_list() == [1025.0]
    assert snapshot.items["text"][0] == "Rubio's Card. A card ., Really. Made by Rubio's"


def test_amazon_scientific(folders, tmp_path):
    snapshot = built(folders, tmp_path, "amazon-scientific")
    assert snapshot.items["title"].to_list() == ["Rye Malt", "A Screw 1.5in", "2"]
    assert triples(snapshot) == {
        ("A Screw 1.5in", "in_category", "Fasteners Screws"),
        ("A Screw 1.5in", "made_by", "Small Parts"),
        ("Rye Malt", "made_by", "Briess"),
    }
    log = snapshot.interactions
    assert log["item_idx"].to_list() == [2, 1, 0, 2, 1]
    assert log["context.split"].to_list() == ["train", "train", "train", "valid", "test"]


def test_movielens_dat(folders, tmp_path):
    snapshot = built(folders, tmp_path, "movielens-dat")
    assert triples(snapshot) == {
        ("Amélie (2001)", "has_genre", "Comedy"),
        ("Amélie (2001)", "has_genre", "Romance"),
    }
    assert snapshot.items["numeric.year"].to_list() == [2001.0]
    assert snapshot.users["profile_text"].to_list() == [
        "woman, 25 to 34. programmer",
        "man, under 18. pupil",
    ]
    (folders["movielens-dat"] / "users.dat").unlink()
    again = build(folders["movielens-dat"], out=tmp_path / "out").snapshot
    assert again.users["profile_text"].to_list() == [""]


def test_movielens_csv(folders, tmp_path):
    snapshot = built(folders, tmp_path, "movielens-csv")
    assert triples(snapshot) == {
        ("Heat (1995)", "has_genre", "Action"),
        ("Heat (1995)", "has_genre", "Crime"),
    }
    assert snapshot.items["numeric.year"].to_list() == [1995.0, 1973.0]
    assert snapshot.interactions["positive"].to_list() == [True]
